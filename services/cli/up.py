"""`carnet up`: the whole system in the foreground, until Ctrl-C."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field, SecretStr
from rich.console import Console

from messaging.sharding import MAX_SHARDS
from services.local.ports import LOOPBACK
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


class StackSettings(Settings):
    """What `carnet up` reads from the environment."""

    state: Path = Field(default=Path(".carnet"), description=STATE_FOLDER)
    amqp_url: SecretStr | None = Field(
        default=None, description="A broker that is there; else the stack starts one of its own"
    )
    key_passphrase: SecretStr | None = Field(default=None, description=KEY_OPENER)
    host: str = Field(default=LOOPBACK, description="Address that the gateway listens on")
    port: int = Field(default=8000, ge=1, le=65535, description="Port that the gateway listens on")
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
) -> None:
    """Run all three services, and a broker unless CARNET_AMQP_URL names one, until Ctrl-C.

    Keeps keys, databases and logs in one folder, and goes on with what is there.

    Examples:
      carnet up
      carnet up --port 8080 --state /tmp/shop
      CARNET_AMQP_URL=amqp://guest:guest@127.0.0.1 carnet up
    """
    settings = read_settings(StackSettings)
    console = Console(stderr=True, highlight=False)
    stack = LocalStack(
        state or settings.state,
        given_url=settings.amqp_url.get_secret_value() if settings.amqp_url else None,
        host=settings.host,
        port=port or settings.port,
        broker_login=settings.broker_login,
        shards=settings.orders_shards,
        playground=settings.playground,
        passphrase=settings.key_passphrase.get_secret_value() if settings.key_passphrase else None,
        say=lambda line: console.print(f"[dim]{line}[/dim]"),
    )
    asyncio.run(_until_signalled(stack, console))


async def _until_signalled(stack: LocalStack, console: Console) -> None:
    running = asyncio.create_task(_run(stack, console))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # The first asks it to drain, a second one cuts the draining short.
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        console.print("[dim]stopped[/dim]")


async def _run(stack: LocalStack, console: Console) -> None:
    async with stack:
        for name, service in stack.services.items():
            console.print(f"  {name:8} {service.url}  [dim]{service.log}[/dim]")
        console.print(f"open   [bold]{stack.gateway_url}/[/bold] in a browser")
        console.print(f"ready on [bold]{stack.gateway_url}[/bold]; Ctrl-C stops everything")
        try:
            await stack.watch()
        finally:
            console.print("[dim]draining[/dim]")
