"""`carnet demo`: the main job from beginning to end, on a stack of its own or on yours."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field, SecretStr

from auth.errors import KeySetError
from auth.keyset import TrustRoot
from services.demo.client import ShopClient
from services.demo.screen import Screen
from services.demo.story import Backstage, tell
from services.errors import StartError
from services.local.logins import OPERATOR
from services.local.stack import LocalStack
from services.settings import Settings, read_settings


class DemoSettings(Settings):
    """What `carnet demo` reads from the environment."""

    demo_amqp_url: SecretStr | None = Field(
        default=None, description="Broker of the stack that --url names, by a login that may read"
    )


def demo(
    *,
    url: Annotated[
        str | None,
        typer.Option(help="Gateway of a running stack; without it one is started and stopped."),
    ] = None,
    amqp_url: Annotated[
        str | None,
        typer.Option(help="Its broker, by a login that may read  [CARNET_DEMO_AMQP_URL]"),
    ] = None,
    state: Annotated[
        Path, typer.Option(envvar="CARNET_STATE", help="Folder with its trust root and keys.")
    ] = Path(".carnet"),
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the passphrase of the private keys.")
    ] = None,
) -> None:
    """Sign in, order, watch each check, then see five forgeries bounce.

    Without --url everything is started in a folder of its own, on free ports, and removed again.

    Examples:
      carnet demo
      carnet demo --url http://127.0.0.1:8000 --amqp-url amqp://operator:…@127.0.0.1 --state secrets
    """
    screen = Screen()
    kept = read_settings(DemoSettings).demo_amqp_url
    amqp_url = amqp_url or (None if kept is None else kept.get_secret_value())
    passphrase = passphrase_file.read_bytes().strip() if passphrase_file else None
    if url is None:
        asyncio.run(_on_its_own(screen))
    elif amqp_url is None:
        raise StartError("with --url, name the broker too: --amqp-url, or CARNET_DEMO_AMQP_URL")
    else:
        asyncio.run(_against(screen, url, amqp_url, state, passphrase))
    screen.summary()


async def _on_its_own(screen: Screen) -> None:
    with tempfile.TemporaryDirectory(prefix="carnet-demo-") as folder:
        stack = LocalStack(Path(folder), throwaway=True, say=screen.passed)
        with screen.step("Start: broker, user service, order service, gateway"):
            await stack.start()
            screen.passed(f"three services, each ready; the gateway at {stack.gateway_url}")
        try:
            await _against(
                screen, stack.gateway_url, stack.amqp_url(OPERATOR), Path(folder), passphrase=None
            )
        finally:
            with screen.step("Stop: drain, acknowledge, close"):
                await stack.stop()
                screen.passed("everything is stopped, nothing is left behind")


async def _against(
    screen: Screen, url: str, amqp_url: str, state: Path, passphrase: bytes | None
) -> None:
    try:
        root = TrustRoot.from_json((state / "trust-root.json").read_bytes())
        statement = (state / "key-set.jwt").read_text(encoding="ascii")
        key_set = root.verify(statement, now=time.time())
    except OSError as error:
        raise StartError(f"{error.filename}: cannot read: {error.strerror}; see --state") from error
    except KeySetError as error:
        raise StartError(f"{state}: {error.detail}") from error
    async with ShopClient(url) as client:
        await tell(
            screen,
            client,
            Backstage(
                amqp_url=amqp_url,
                key_set=key_set,
                keys=state / "keys",
                passphrase=passphrase,
            ),
        )
