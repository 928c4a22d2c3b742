"""The carnets that the gateway holds: one for each access token, audience and set of scopes.

No call to the issuer per message: a carnet is kept, and renewed at two thirds of its life while
the old one still serves. Requests that need the same one share one call.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from auth.claims import join_scope
from auth.statements import Revocation
from auth.tokens import AccessClaims
from messaging.rpc import RpcRefusedError
from services.contracts.users import Exchange, Exchanged
from services.gateway.dependents import Dependents

CAPACITY: Final = 10_000
RENEW_AFTER: Final = 2 / 3
MARGIN: Final = 10.0
"""Seconds that a carnet must still have to be used."""

_Key = tuple[str, str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent an HTTP request: the access token, verified, and its claims."""

    token: str
    claims: AccessClaims


@dataclass(frozen=True, slots=True)
class _Held:
    carnet: str
    renew_at: float
    expires_at: float


class Carnets:
    """A bounded cache of carnets, the least recently used out first."""

    def __init__(
        self,
        exchange: Callable[[Exchange], Awaitable[Exchanged]],
        *,
        clock: Callable[[], float],
        capacity: int = CAPACITY,
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._capacity = capacity
        self._held: OrderedDict[_Key, _Held] = OrderedDict()
        self._flights: dict[_Key, asyncio.Task[_Held]] = {}
        self._running: set[asyncio.Task[_Held]] = set()
        self._keys: Dependents[_Key] = Dependents()
        """Of all that is held or under way."""

    async def carnet(self, caller: Caller, *, audience: str, scopes: frozenset[str]) -> str:
        """A carnet for `audience` with `scopes`, all of which the caller's token has.

        What the exchange raises reaches everyone who waits for it, and is not kept.
        """
        key = (caller.claims.jti, audience, scopes)
        now = self._clock()
        held = self._held.get(key)
        if held is not None and now < held.expires_at - MARGIN:
            self._held.move_to_end(key)
            if now >= held.renew_at and key not in self._flights:
                self._start(key, caller)
            return held.carnet
        flight = self._flights.get(key) or self._start(key, caller)
        # Shielded: a request that is cut off must not take the carnet from the others.
        return (await asyncio.shield(flight)).carnet

    def forget(self, revoked: Revocation) -> None:
        """Drop what belongs to tokens that are revoked, also what is still on its way."""
        for key in self._keys.hit_by(revoked):
            self._held.pop(key, None)
            self._flights.pop(key, None)
            self._keys.discard(key)

    async def close(self) -> None:
        """Give up the exchanges that are still under way."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _start(self, key: _Key, caller: Caller) -> "asyncio.Task[_Held]":
        flight = asyncio.create_task(self._obtain(key, caller))
        self._flights[key] = flight
        self._keys.add(key, caller.claims)
        self._running.add(flight)
        flight.add_done_callback(lambda task: self._land(key, task))
        return flight

    async def _obtain(self, key: _Key, caller: Caller) -> _Held:
        _, audience, scopes = key
        asked_at = self._clock()
        got = await self._exchange(
            Exchange(subject_token=caller.token, audience=audience, scope=join_scope(scopes))
        )
        return _Held(
            carnet=got.carnet,
            renew_at=asked_at + got.expires_in * RENEW_AFTER,
            expires_at=asked_at + got.expires_in,
        )

    def _land(self, key: _Key, flight: "asyncio.Task[_Held]") -> None:
        self._running.discard(flight)
        error = None if flight.cancelled() else flight.exception()
        if self._flights.get(key) is not flight:
            return  # its token was revoked meanwhile
        del self._flights[key]
        if isinstance(error, RpcRefusedError):
            self._held.pop(key, None)  # the issuer has changed its mind: say so from now on
        if not flight.cancelled() and error is None:
            self._held[key] = flight.result()
            self._held.move_to_end(key)
        self._release(key)
        while len(self._held) > self._capacity:
            oldest, _ = self._held.popitem(last=False)
            self._release(oldest)

    def _release(self, key: _Key) -> None:
        """Stop watching what is neither held nor under way."""
        if key not in self._held and key not in self._flights:
            self._keys.discard(key)
