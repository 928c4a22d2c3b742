"""`carnet up`: the whole system in the foreground, until Ctrl-C."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import Field, SecretStr
from rich.console import Console

from messaging.sharding import MAX_SHARDS
from services.local.ports import LOOPBACK, is_free
from services.local.stack import LocalStack
from services.operations.places import STATE_FOLDER
from services.settings import (
    BROKER_LOGIN,
    KEY_OPENER,
    ORDERS_SHARDS,
    BrokerLogin,
    Settings,
    read_settings,
)

CONSOLE_PORT: Final = 8001


class StackSettings(Settings):
    """What `carnet up` reads from the environment."""

    state: Path = Field(default=Path(".carnet"), description=STATE_FOLDER)
    amqp_url: SecretStr | None = Field(
        default=None, description="A broker that is there; else the stack starts one of its own"
    )
    key_passphrase: SecretStr | None = Field(default=None, description=KEY_OPENER)
    host: str = Field(default=LOOPBACK, description="Address that the gateway listens on")
    port: int = Field(default=8000, ge=1, le=65535, description="Port that the gateway listens on")
    console_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port that the console listens on; else 8001, or a free one if that is taken",
    )
    broker_login: BrokerLogin = Field(default="password", description=BROKER_LOGIN)
    orders_shards: int = Field(default=1, ge=1, le=MAX_SHARDS, description=ORDERS_SHARDS)
    playground: bool = Field(
        default=True, description="Let users tamper with messages of their own, to see them stopped"
    )
    """On, since everybody here has come to see it; services by themselves have it off."""


def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Gateway's port  [CARNET_PORT, or 8000]")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Folder of keys, databases, broker, logs  [CARNET_STATE, or .carnet]"),
    ] = None,
    *,
    console: Annotated[
        bool, typer.Option(help="Whether the operators' console is run too.")
    ] = True,
) -> None:
    """Run all services and the console, and a broker unless CARNET_AMQP_URL names one.

    In the foreground, until Ctrl-C.

    Keeps keys, databases and logs in one folder, and goes on with what is there.

    Examples:
      carnet up
      carnet up --port 8080 --state /tmp/shop
      carnet up --no-console
      CARNET_AMQP_URL=amqp://guest:guest@127.0.0.1 carnet up
    """
    settings = read_settings(StackSettings)
    screen = Console(stderr=True, highlight=False)
    stack = LocalStack(
        state or settings.state,
        given_url=settings.amqp_url.get_secret_value() if settings.amqp_url else None,
        host=settings.host,
        port=port or settings.port,
        broker_login=settings.broker_login,
        shards=settings.orders_shards,
        playground=settings.playground,
        console=console,
        console_port=settings.console_port or _first_choice(),
        passphrase=settings.key_passphrase.get_secret_value() if settings.key_passphrase else None,
        say=lambda line: screen.print(f"[dim]{line}[/dim]"),
    )
    asyncio.run(_until_signalled(stack, screen))


def _first_choice() -> int | None:
    """The console's usual port, where nobody has it."""
    return CONSOLE_PORT if is_free(LOOPBACK, CONSOLE_PORT) else None


async def _until_signalled(stack: LocalStack, screen: Console) -> None:
    running = asyncio.create_task(_run(stack, screen))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # The first asks it to drain, a second one cuts the draining short.
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        screen.print("[dim]stopped[/dim]")


async def _run(stack: LocalStack, screen: Console) -> None:
    async with stack:
        for name, service in stack.services.items():
            screen.print(f"  {name:8} {service.url}  [dim]{service.log}[/dim]")
        screen.print(f"open   [bold]{stack.gateway_url}/[/bold] in a browser")
        _tell_of_console(stack, screen)
        screen.print(f"ready on [bold]{stack.gateway_url}[/bold]; Ctrl-C stops everything")
        try:
            await stack.watch()
        finally:
            screen.print("[dim]draining[/dim]")


def _tell_of_console(stack: LocalStack, screen: Console) -> None:
    if stack.console_url is None:
        return
    where = "" if stack.state == Path(".carnet").resolve() else f"CARNET_STATE={stack.state} "
    screen.print(f"open   [bold]{stack.console_url}[/bold] as an operator", soft_wrap=True)
    screen.print(
        f"       [dim]to be one: {where}carnet accounts add NAME --role operator[/dim]",
        soft_wrap=True,
    )
