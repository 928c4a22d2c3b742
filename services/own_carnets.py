"""The carnets of a service's own, for work that no user asked for.

By client credentials (RFC 6749 §4.4), then token exchange; both over RPC, and kept while they last.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from auth.assertion import sign_assertion
from auth.claims import join_scope
from auth.seal import Sealer
from messaging.rpc import RpcClient, RpcRefusedError, RpcTimeoutError
from services.contracts.topology import USER_SERVICE
from services.contracts.users import ClientCredentials, Exchange

MARGIN: Final = 60.0
"""Seconds that a token must still have to be used: it travels, and clocks differ."""

DEADLINE: Final = 5.0
"""Seconds for the user service to answer."""

_NOT_WAITED_FOR: Final = RpcTimeoutError(f"{USER_SERVICE} did not answer as long as it was asked")


@dataclass(frozen=True, slots=True)
class _Held:
    token: str
    until: float


class OwnCarnets:
    """A `messaging.relay.CarnetSource`; the key set statement says what it may ask for.

    The client needs `users.client.v1` and `users.exchange.v1` among its `publishes`, the audience
    among its `exchanges`, and the scopes among its `scopes`.
    """

    def __init__(self, rpc: RpcClient, sealer: Sealer, *, clock: Callable[[], float]) -> None:
        self._rpc = rpc
        self._sealer = sealer
        self._clock = clock
        self._access: _Held | None = None
        self._carnets: dict[tuple[str, frozenset[str]], _Held] = {}
        self._asking = asyncio.Lock()
        self._failures = 0
        self._failure: Exception = _NOT_WAITED_FOR

    async def __call__(self, audience: str, scopes: frozenset[str]) -> str:
        """A carnet for `audience` with `scopes`, that only we can seal with.

        Many may wait for one call. If it fails they fail with it, and none makes a call of its own:
        else each would wait its whole deadline after the one before.

        Raises:
            RpcRefusedError: the user service gives us none, and why.
            RpcTimeoutError, BrokerUnavailableError, PublishError: not now.
        """
        failures = self._failures
        async with self._asking:  # everyone else then finds what the first one got
            held = self._carnets.get((audience, scopes))
            if held is None or held.until <= self._clock():
                if failures < self._failures:
                    raise self._failure.with_traceback(None)
                held = await self._ask(audience, scopes)
                self._carnets[audience, scopes] = held
            return held.token

    async def _ask(self, audience: str, scopes: frozenset[str]) -> _Held:
        """As `_exchange`; that there was no answer goes for all who wait."""
        try:
            return await self._exchange(audience, scopes)
        except RpcRefusedError:
            raise  # an answer, and to this one alone
        except BaseException as error:  # cut off before there was an answer: none either
            self._failures += 1
            self._failure = error if isinstance(error, Exception) else _NOT_WAITED_FOR
            raise

    async def _exchange(self, audience: str, scopes: frozenset[str]) -> _Held:
        asked_at = self._clock()
        got = await self._rpc.call(
            Exchange(
                subject_token=await self._access_token(),
                audience=audience,
                scope=join_scope(scopes),
            ),
            responder=USER_SERVICE,
            deadline=DEADLINE,
        )
        return _Held(got.carnet, asked_at + got.expires_in - MARGIN)

    async def _access_token(self) -> str:
        asked_at = self._clock()
        if self._access is None or self._access.until <= asked_at:
            assertion = sign_assertion(
                self._sealer.client_id,
                self._sealer.signing_key(),
                audience=USER_SERVICE,
                now=asked_at,
            )
            got = await self._rpc.call(
                ClientCredentials(client_assertion=assertion),
                responder=USER_SERVICE,
                deadline=DEADLINE,
            )
            self._access = _Held(got.access_token, asked_at + got.expires_in - MARGIN)
        return self._access.token
