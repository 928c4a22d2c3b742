"""Commands that are imported once they are called: neither `--help` nor a neighbour loads them."""

import importlib
from typing import Any, Final, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_group

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": (
        "services.cli.up:up",
        "Run all services and the console, and a broker unless CARNET_AMQP_URL names one.",
    ),
    "demo": (
        "services.cli.demo:demo",
        "Sign in, order, watch each check, then see five forgeries bounce.",
    ),
    "users": (
        "services.cli.serve:users",
        "Run the user service (the issuer). Settings: CARNET_… variables.",
    ),
    "gateway": (
        "services.cli.serve:gateway",
        "Run the HTTP gateway. Settings: CARNET_… variables.",
    ),
    "orders": (
        "services.cli.serve:orders",
        "Run the order service. Settings: CARNET_… variables.",
    ),
    "console": (
        "services.cli.serve:console",
        "Run the operators' console. Settings: CARNET_… variables.",
    ),
    "migrate": (
        "services.cli.migrate:migrate",
        "Bring a service's database up to date; each also does so at its own start.",
    ),
    "doctor": (
        "services.cli.doctor:doctor",
        "Check everything and say what to do; exit code 1 if anything is in the way.",
    ),
    "config": (
        "services.cli.config:app",
        "What can be set, what is, and what is wrong with it.",
    ),
    "revoke": (
        "services.cli.revoke:revoke",
        "Void tokens before their time; what is queued under them is refused as well.",
    ),
    "broker-keys": (
        "services.cli.broker_keys:broker_keys",
        "Write the issuer's public keys, and the configuration by which RabbitMQ believes them.",
    ),
    "new": ("services.cli.new:app", "Write what one starts from."),
    "services": (
        "services.cli.own:app",
        "Services of one's own: let a local stack know them, and run them on it.",
    ),
    "accounts": ("services.cli.accounts:app", "The accounts of the user service."),
    "clients": (
        "services.cli.clients:app",
        "Public OAuth clients: the apps that users sign in with.",
    ),
    "login": (
        "services.cli.session:login",
        "Sign in with a browser, on this machine or another; the password is never typed here.",
    ),
    "whoami": (
        "services.cli.session:whoami",
        "Say who is signed in, and what the session may do; asks the gateway.",
    ),
    "logout": (
        "services.cli.session:logout",
        "End the session at the gateway, and delete its tokens here.",
    ),
    "trust": (
        "services.cli.trust:app",
        "Who may do what: make, change and sign the key set statement.",
    ),
    "keys": ("services.cli.keys:app", "The issuer's own keys, and which one signs."),
    "audit": (
        "services.cli.audit:app",
        "The issuer's audit log: who did what, on whom, when.",
    ),
    "token": ("services.cli.token:app", "Read and explain tokens."),
    "contracts": (
        "services.cli.contracts:app",
        "The messages and the HTTP API as documents: AsyncAPI, OpenAPI, JSON Schemas.",
    ),
    "shards": (
        "services.cli.shards:shards",
        "Spread the order commands over so many queues, from now on.",
    ),
    "queues": (
        "services.cli.queues:queues",
        "List the queues: what each is for, how much lies in it, and how many consume from it.",
    ),
    "standing": (
        "services.cli.standing:standing",
        "List the services: ready or not, their release, key set and revocations.",
    ),
    "rates": (
        "services.cli.rates:rates",
        "Look at the services twice, and tell what happened in between, all of them together.",
    ),
    "dead-letters": (
        "services.cli.dead_letters:app",
        "What was refused, and why: look at it, release it, discard it, take it out.",
    ),
}
"""Each command's place, and the first line of its help."""


class LazyGroup(TyperGroup):
    """Knows its commands by name and help, and puts the real one in place of the called one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            command = self.commands[name] = load(name)
        return name, command, rest


def placeholders(app: typer.Typer) -> None:
    """Name all commands to `app`, whose group is a `LazyGroup`."""
    for name, (_, summary) in COMMANDS.items():
        app.command(name, help=summary)(_never)


def load(name: str) -> Any:
    """The real command of this name, imported."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    holder = typer.Typer(rich_markup_mode="rich")
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    return get_group(holder).commands[name]


def _never() -> NoReturn:
    raise AssertionError("a placeholder is never run")
