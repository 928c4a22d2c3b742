"""The customers: they order, cancel, listen, and repeat what was not answered, as good clients do.

A request keeps its Idempotency-Key until its answer is final: 202, or a refusal that no repetition
would change. On 503, on 401 and where no answer comes it is sent again, to any gateway.
"""

import asyncio
import json
import random
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from auth.explain import decode_unverified
from messaging.pause import Backoff
from tests.chaos.ledger import Cancel, Ledger, Wish

WITHIN: Final = 10.0
"""Seconds for an answer; then the client lets go of it."""
LONGEST_WAIT: Final = 3.0
SILENCE: Final = 30.0
"""Seconds without a sign of life after which a client lets go of a stream."""

TOO_DEAR: Final = "999999999.00"
"""A price that the order service refuses."""
PRICE: Final = "4.20"

UNAUTHORIZED: Final = 401
AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass
class Customer:
    """Somebody with an account. `subject` is who they are to the services."""

    name: str
    password: str
    token: str = ""
    subject: str = ""
    signing_in: asyncio.Lock = field(default_factory=asyncio.Lock)


class Load:
    """Keeps so many requests going, at a steady pace where it is answered."""

    def __init__(
        self, gateways: list[str], ledger: Ledger, *, seed: str, rate: float, workers: int
    ) -> None:
        """`rate`: orders begun in a second, at most."""
        self.customers: list[Customer] = []
        self.done = 0
        """Orders whose last answer is final."""
        self._gateways = gateways
        self._ledger = ledger
        self._random = random.Random(seed)  # noqa: S311 - to be played again, not to be secret
        self._rate = rate
        self._workers = workers
        self._turn = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[asyncio.Task[None]] = []
        self._http = httpx.AsyncClient(
            timeout=WITHIN,
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=50),
        )

    async def open(self, customers: int) -> None:
        """Register the customers and let each listen to their events."""
        for _ in range(customers):
            customer = Customer(f"c-{secrets.token_hex(8)}", secrets.token_urlsafe(16))
            await self._register(customer)
            await self._sign_in(customer)
            self.customers.append(customer)
            self._ledger.streams[customer.subject] = []
        self._listeners = [asyncio.create_task(self._listen(c)) for c in self.customers]

    def begin(self) -> None:
        """Begin to order."""
        self._tasks = [
            *(asyncio.create_task(self._order()) for _ in range(self._workers)),
            asyncio.create_task(self._come_and_go()),
        ]
        self._ending = asyncio.Event()

    async def end(self, within: float) -> None:
        """Begin no more orders; wait until every one that was begun has its final answer.

        Raises:
            TimeoutError: some have none, though nothing is broken any more.
        """
        self._ending.set()
        async with asyncio.timeout(within):
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        for task in (*self._tasks, *self._listeners):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._listeners, return_exceptions=True)
        await self._http.aclose()

    async def until_told(self, latest: dict[str, int], within: float) -> None:
        """Wait until every listener has heard their latest event, or has had the time to."""
        streams = self._ledger.streams
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while any(  # noqa: ASYNC110 - twenty streams, each with its own pace
                    not streams[subject] or streams[subject][-1][0] < sequence
                    for subject, sequence in latest.items()
                    if subject in streams
                ):
                    await asyncio.sleep(0.2)

    async def _order(self) -> None:
        while await self._next_turn():
            wish = self._new_wish()
            customer = self._customer(wish.subject)
            body = {
                "currency": "EUR",
                "lines": [{"sku": wish.sku, "quantity": 1, "unit_price": wish.unit_price}],
            }
            answer, code = await self._insist(customer, "/v1/orders", wish.key, body)
            if answer is None:
                wish.told_no = code
            else:
                wish.accepted = answer["id"]
                if self._random.random() < 0.05:  # the answer got lost on the client's side
                    await self._insist(customer, "/v1/orders", wish.key, body)
            if wish.cancel is not None and wish.accepted is not None:
                await self._cancel(wish.accepted, wish.cancel)
            self.done += 1

    async def _cancel(self, order_id: str, cancel: Cancel) -> None:
        await asyncio.sleep(self._random.choice((0, 0, self._random.uniform(0, 3))))
        path = f"/v1/orders/{order_id}/cancel"
        answer, code = await self._insist(self._customer(cancel.subject), path, cancel.key, None)
        cancel.accepted, cancel.told_no = answer is not None, code

    def _new_wish(self) -> Wish:
        number = len(self._ledger.wishes)
        customer, other = self._random.sample(self.customers, 2)
        kind = self._random.random()
        wish = Wish(
            number=number,
            subject=customer.subject,
            key=f"order-{number}",
            sku=f"o-{number}",
            unit_price=TOO_DEAR if kind < 0.02 else PRICE,
        )
        if 0.02 < kind < 0.22:
            own = kind > 0.04
            canceller = customer if own else other
            wish.cancel = Cancel(subject=canceller.subject, key=f"cancel-{number}", own=own)
        self._ledger.wishes.append(wish)
        return wish

    async def _next_turn(self) -> bool:
        """Wait for one's turn; False where no order is to be begun any more."""
        async with self._turn:
            with suppress(TimeoutError):
                async with asyncio.timeout(1 / self._rate):
                    await self._ending.wait()
        return not self._ending.is_set()

    async def _insist(
        self, customer: Customer, path: str, key: str, body: dict[str, Any] | None
    ) -> tuple[dict[str, Any] | None, str | None]:
        """Send a request until its answer is final: the body of a 202, or the code of a refusal."""
        backoff = Backoff(first=0.5, limit=LONGEST_WAIT)
        while True:
            token = customer.token
            response = await self._post(path, key, body, token)
            if response is None:
                self._ledger.answers["none"] += 1
                await asyncio.sleep(backoff.next_wait())
                continue
            if response.status_code == httpx.codes.ACCEPTED:
                self._ledger.answers["202"] += 1
                accepted: dict[str, Any] = response.json()
                return accepted, None
            code = _code(response)
            self._ledger.answers[f"{response.status_code} {code}"] += 1
            if response.status_code == UNAUTHORIZED:
                await self._sign_in_once(customer, instead_of=token)
            elif response.status_code in AGAIN:
                await self._wait(response.headers.get("Retry-After"))
            else:
                return None, f"{response.status_code} {code}"

    async def _post(
        self, path: str, key: str | None, body: dict[str, Any] | None, token: str | None
    ) -> httpx.Response | None:
        headers = {} if key is None else {"Idempotency-Key": key}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        gateway = self._random.choice(self._gateways)
        try:
            return await self._http.post(f"{gateway}{path}", json=body, headers=headers)
        except httpx.HTTPError:
            return None

    async def _wait(self, asked_for: str | None) -> None:
        longest = min(float(asked_for or 1), LONGEST_WAIT)
        await asyncio.sleep(self._random.uniform(longest / 2, longest))

    async def _register(self, customer: Customer) -> None:
        body = {"name": customer.name, "password": customer.password}
        await self._until_answered("/v1/users", body, {201, 409})

    async def _sign_in(self, customer: Customer) -> None:
        body = {"name": customer.name, "password": customer.password}
        answer = await self._until_answered("/v1/sessions", body, {201})
        customer.token = answer["access_token"]
        customer.subject = decode_unverified(customer.token).unverified_claims["sub"]

    async def _sign_in_once(self, customer: Customer, *, instead_of: str) -> None:
        """Get a new token in the place of one that was refused, unless somebody has."""
        async with customer.signing_in:
            if customer.token == instead_of:
                await self._sign_in(customer)
                return
        await self._wait(None)

    async def _until_answered(
        self, path: str, body: dict[str, Any], hoped_for: set[int]
    ) -> dict[str, Any]:
        while True:
            response = await self._post(path, None, body, None)
            if response is not None and response.status_code in hoped_for:
                answer: dict[str, Any] = response.json()
                return answer
            await self._wait(None if response is None else response.headers.get("Retry-After"))

    async def _come_and_go(self) -> None:
        """Somebody signs in every other second, so that the user service has work too."""
        while not self._ending.is_set():
            await self._sign_in(self._random.choice(self.customers))
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await self._ending.wait()

    async def _listen(self, customer: Customer) -> None:
        """Hear every event from the first on, over whatever breaks the stream."""
        heard = self._ledger.streams[customer.subject]
        while True:
            with suppress(httpx.HTTPError, TimeoutError):
                await self._hear(customer, heard)
            await asyncio.sleep(self._random.uniform(0.2, 1.5))

    async def _hear(self, customer: Customer, heard: list[tuple[int, str, str]]) -> None:
        token = customer.token
        headers = {
            "Authorization": f"Bearer {token}",
            "Last-Event-ID": str(heard[-1][0] if heard else 0),
        }
        gateway = self._random.choice(self._gateways)
        timeout = httpx.Timeout(WITHIN, read=SILENCE)
        url = f"{gateway}/v1/orders/events"
        async with self._http.stream("GET", url, headers=headers, timeout=timeout) as response:
            if response.status_code != httpx.codes.OK:
                if response.status_code == UNAUTHORIZED:
                    await self._sign_in_once(customer, instead_of=token)
                return
            fields: dict[str, str] = {}
            async for line in response.aiter_lines():
                name, _, value = line.partition(":")
                if name:
                    fields[name] = value.removeprefix(" ")
                elif "data" in fields:
                    if "id" in fields:
                        body = json.loads(fields["data"])
                        told = (int(fields["id"]), fields.get("event", ""), body["order_id"])
                        heard.append(told)
                    fields = {}

    def _customer(self, subject: str) -> Customer:
        return next(customer for customer in self.customers if customer.subject == subject)


def _code(response: httpx.Response) -> str:
    try:
        return str(response.json().get("code"))
    except ValueError:
        return "-"
