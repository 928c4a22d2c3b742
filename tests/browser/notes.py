"""An app that users sign in with: Authlib, and a page of its own that they are led back to."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import httpx
from authlib.integrations.requests_client import OAuth2Session

from services.local.ports import LOOPBACK
from services.local.stack import LocalStack

CLIENT: Final = "app:notes"
TITLE: Final = "Notes & more"
CARNET: Final = [sys.executable, "-c", "from services.cli.main import main; main()"]
WITHIN: Final = 20.0

_PAGE: Final = (
    b"<!doctype html><html lang=en><title>Notes</title>"
    b'<link rel="icon" href="data:,"><h1>Back at Notes</h1>'
)
"""With an icon: the browser would ask for one, also when the app is gone, and complain."""
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n"


async def register(stack: LocalStack) -> None:
    """As the user service's operator does."""
    adding = ["add", "notes", "--title", TITLE, "--redirect-uri", f"http://{LOOPBACK}/callback"]
    process = await asyncio.create_subprocess_exec(
        *(*CARNET, "clients", *adding, "--scope", "orders:read"),
        env={"CARNET_STATE": str(stack.state)},
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0


@dataclass
class Notes:
    """The app on its user's own machine (RFC 8252 §7.3): it listens at a free port."""

    gateway: str
    metadata: dict[str, Any]
    port: int = 0
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    state: str = ""
    _led_back: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    @classmethod
    @asynccontextmanager
    async def open(cls, stack: LocalStack) -> AsyncIterator[Self]:
        async with httpx.AsyncClient(base_url=stack.gateway_url, trust_env=False) as http:
            metadata = (await http.get("/.well-known/oauth-authorization-server")).json()
        app = cls(stack.gateway_url, metadata)
        server = await asyncio.start_server(app._serve, LOOPBACK, 0)
        async with server:
            app.port = server.sockets[0].getsockname()[1]
            yield app

    @property
    def callback(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/callback"

    def address(self) -> str:
        """Where it leads its user."""
        url, self.state = self._session().create_authorization_url(
            self.metadata["authorization_endpoint"], code_verifier=self.verifier
        )
        return str(url)

    async def led_back(self) -> dict[str, str]:
        """What its user's browser came back with."""
        async with asyncio.timeout(WITHIN):
            target = await self._led_back.get()
        return {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}

    async def trade(self, back: dict[str, str]) -> dict[str, Any]:
        """Tokens for the code."""
        session = self._session()
        return await asyncio.to_thread(
            session.fetch_token,
            self.metadata["token_endpoint"],
            code=back["code"],
            code_verifier=self.verifier,
        )

    def _session(self) -> Any:
        return OAuth2Session(
            CLIENT,
            scope="orders:read",
            redirect_uri=self.callback,
            code_challenge_method="S256",
            token_endpoint_auth_method="none",
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        target = head.split(b" ")[1].decode()
        writer.write(_HEAD + _PAGE)
        await writer.drain()
        writer.close()
        if target.startswith("/callback"):
            self._led_back.put_nowait(target)
