"""A browser, as far as it matters: it keeps cookies and fills in forms."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from services.users.acts import Asker
from tests.services.gateway.stack import PASSWORD, Stack

NOTES = "app:notes"
CALLBACK = "https://notes.example/callback"


@dataclass
class Page:
    """A page with its one form."""

    answer: httpx.Response
    fields: dict[str, str] = field(default_factory=dict)
    action: str = ""

    @classmethod
    def of(cls, answer: httpx.Response) -> "Page":
        page = cls(answer)
        parser = _Forms(page)
        parser.feed(answer.text)
        return page


class _Forms(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = dict(attrs)
        if tag == "form":
            self._page.action = about["action"] or ""
        if tag == "input":
            self._page.fields[about["name"] or ""] = about.get("value") or ""


@dataclass
class Pkce:
    """A code verifier, and its challenge."""

    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def add_client(stack: Stack, name: str = "notes", **changed: Any) -> str:
    """A public client, unless there is one; its client id."""
    about: dict[str, Any] = {
        "title": "Notes",
        "redirect_uris": [CALLBACK],
        "scopes": ["orders:read", "orders:write"],
        "devices": False,
        **changed,
    }
    async with stack.register() as register:
        known = [client.client_id for client in await register.clients.list()]
        if f"app:{name}" in known:
            return f"app:{name}"
        return await register.clients.add(Asker.operator(), name, **about)


def asked(pkce: Pkce, **changed: str | None) -> dict[str, str]:
    """An authorization request's parameters; those that are None are left out."""
    parameters = {
        "response_type": "code",
        "client_id": NOTES,
        "redirect_uri": CALLBACK,
        "scope": "orders:read",
        "state": "a state",
        "code_challenge": pkce.challenge,
        "code_challenge_method": "S256",
        **changed,
    }
    return {name: value for name, value in parameters.items() if value is not None}


async def open_page(http: httpx.AsyncClient, parameters: Any) -> Page:
    return Page.of(await http.get("/oauth/authorize", params=parameters))


async def submit(http: httpx.AsyncClient, page: Page, **fields: str) -> httpx.Response:
    """Send the page's form, by its main button."""
    filled = {**page.fields, "decision": "allow", **fields}
    return await http.post(page.action, data=filled)


async def authorize(
    http: httpx.AsyncClient, name: str, pkce: Pkce, **changed: str | None
) -> dict[str, str]:
    """Sign in for a client; what it is led back with."""
    page = await open_page(http, asked(pkce, **changed))
    answer = await submit(http, page, name=name, password=PASSWORD)
    return led_back(answer)


def led_back(answer: httpx.Response, to: str = CALLBACK) -> dict[str, str]:
    """What a client gets: its query, each parameter once."""
    assert answer.status_code == 303, answer.text
    location = answer.headers["location"]
    assert location.startswith(f"{to}?"), location
    pairs = parse_qs(urlsplit(location).query, strict_parsing=True)
    assert all(len(values) == 1 for values in pairs.values())
    return {name: values[0] for name, values in pairs.items()}


async def redeem(
    http: httpx.AsyncClient, code: str, pkce: Pkce, **changed: str | None
) -> httpx.Response:
    parameters = {
        "grant_type": "authorization_code",
        "client_id": NOTES,
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": pkce.verifier,
        **changed,
    }
    return await http.post(
        "/oauth/token", data={name: value for name, value in parameters.items() if value}
    )
