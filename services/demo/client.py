"""A client of the gateway's HTTP API, as an application would have one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from services.errors import StartError


class UnexpectedAnswerError(StartError):
    """The gateway answered otherwise than hoped for."""

    code = "unexpected_answer"


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """One server-sent event."""

    id: str
    type: str
    data: str


@dataclass(frozen=True, slots=True)
class Account:
    """A user who has signed in."""

    name: str
    password: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


class ShopClient:
    """Signs in, places orders and watches them. Every call has a deadline of 15 s."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=15)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def register(self, name: str, password: str) -> None:
        """Make an account.

        Raises:
            UnexpectedAnswerError: another answer than 201.
        """
        credentials = {"name": name, "password": password}
        await self._call("POST", "/v1/users", expect=201, json=credentials)

    async def sign_in(self, name: str, password: str) -> Account:
        """Open a session.

        Raises:
            UnexpectedAnswerError: another answer than 201.
        """
        credentials = {"name": name, "password": password}
        answer = await self._call("POST", "/v1/sessions", expect=201, json=credentials)
        return Account(name, password, answer["access_token"], answer["refresh_token"])

    async def place(
        self, account: Account, lines: list[dict[str, Any]], *, key: str | None = None
    ) -> str:
        """Place an order; the answer is its id, and the promise that it will be placed once.

        Raises:
            UnexpectedAnswerError: another answer than 202.
        """
        headers = _bearer(account) | ({} if key is None else {"Idempotency-Key": key})
        order = {"currency": "EUR", "lines": lines}
        answer = await self._call("POST", "/v1/orders", expect=202, json=order, headers=headers)
        order_id: str = answer["id"]
        return order_id

    async def cancel(self, account: Account, order_id: str) -> None:
        """Ask for an order's end.

        Raises:
            UnexpectedAnswerError: another answer than 202.
        """
        path = f"/v1/orders/{order_id}/cancel"
        await self._call("POST", path, expect=202, headers=_bearer(account))

    async def order(self, account: Account, order_id: str) -> dict[str, Any] | None:
        """One order as it is stored, None where it is not there (yet).

        Raises:
            UnexpectedAnswerError: another answer than 200 or 404.
        """
        path = f"/v1/orders/{order_id}"
        response = await self._http.get(path, headers=_bearer(account))
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        return _expect(response, 200)

    async def orders(self, account: Account) -> list[dict[str, Any]]:
        """All orders of the account, page by page.

        Raises:
            UnexpectedAnswerError: another answer than 200.
        """
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            params = {"limit": "100"} | ({} if cursor is None else {"cursor": cursor})
            page = await self._call(
                "GET", "/v1/orders", expect=200, params=params, headers=_bearer(account)
            )
            found.extend(page["orders"])
            cursor = page["next"]
            if cursor is None:
                return found

    @asynccontextmanager
    async def events(
        self, account: Account, *, last_event_id: str | None = None
    ) -> AsyncIterator[AsyncIterator[StreamedEvent]]:
        """The account's order events, live, from the moment that this is entered.

        Raises:
            UnexpectedAnswerError: another answer than 200.
        """
        headers = _bearer(account) | (
            {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        )
        timeout = httpx.Timeout(15, read=60)
        async with self._http.stream(
            "GET", "/v1/orders/events", headers=headers, timeout=timeout
        ) as response:
            if response.status_code != httpx.codes.OK:
                await response.aread()
                _expect(response, 200)
            yield _parse_events(response)

    async def _call(self, method: str, path: str, *, expect: int, **request: Any) -> dict[str, Any]:
        try:
            response = await self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise UnexpectedAnswerError(
                f"{method} {self._http.base_url}{path.lstrip('/')}: "
                f"{error or type(error).__name__}; is the stack up?"
            ) from error
        return _expect(response, expect)


def _bearer(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.access_token}"}


def _expect(response: httpx.Response, status: int) -> dict[str, Any]:
    if response.status_code != status:
        raise UnexpectedAnswerError(
            f"{response.request.method} {response.request.url.path}: {response.status_code} "
            f"{response.text[:500]}"
        )
    answer: dict[str, Any] = response.json()
    return answer


async def _parse_events(response: httpx.Response) -> AsyncIterator[StreamedEvent]:
    """Server-sent events, comments left out (HTML Living Standard §9.2.6)."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield StreamedEvent(fields.get("id", ""), fields.get("event", ""), fields["data"])
            fields = {}


async def next_event(events: AsyncIterator[StreamedEvent], *, within: float) -> StreamedEvent:
    """The next event.

    Raises:
        UnexpectedAnswerError: none came within so many seconds, or the stream has ended.
    """
    try:
        async with asyncio.timeout(within):
            return await anext(events)
    except (TimeoutError, StopAsyncIteration) as error:
        raise UnexpectedAnswerError(f"no event within {within:.0f} s") from error
