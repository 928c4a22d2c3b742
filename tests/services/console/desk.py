"""What an operator does at the console, over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx

from auth.explain import decode_unverified
from services.demo.client import Account

PASSWORD: Final = "correct horse battery staple"
PATIENCE: Final = 60.0


@dataclass
class Desk:
    """An operator's session at the console. Each answer is of success, unless asked otherwise."""

    http: httpx.AsyncClient
    name: str
    tokens: dict[str, Any]

    async def get(self, path: str, expect: int = 200, **query: Any) -> Any:
        return await self._ask("GET", path, expect, params=query)

    async def post(self, path: str, expect: int = 200, **body: Any) -> Any:
        return await self._ask("POST", path, expect, **({"json": body} if body else {}))

    async def delete(self, path: str, expect: int = 200) -> Any:
        return await self._ask("DELETE", path, expect)

    async def letters(self, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.get("/letters", **query))["letters"]
        return found

    async def _ask(self, method: str, path: str, expect: int, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        answer = await self.http.request(method, path, headers=headers, **more)
        assert answer.status_code == expect, answer.text
        return answer.json() if answer.content else None


async def signed_in(http: httpx.AsyncClient, name: str) -> Desk:
    answer = await http.post("/session", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return Desk(http, name, answer.json())


def claim(access_token: str, name: str) -> Any:
    return decode_unverified(access_token).unverified_claims[name]


def sub_of(account: Account) -> str:
    return str(claim(account.access_token, "sub"))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.05)
