"""Logging in by tokens: a token in the place of the password, renewed before it expires."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from messaging.errors import BrokerError, BrokerTokenError
from messaging.pause import Backoff

RENEWED_AFTER: Final = 2 / 3
"""Of a token's life: a third of it is left for tries that fail."""

ATTEMPT: Final = 10.0
"""Seconds for one attempt to get a token, and for the broker to take it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BrokerToken:
    """What the broker takes for a password. `life`: seconds, from when it was asked for."""

    text: str = field(repr=False)
    life: float


TokenSource = Callable[[], Awaitable[BrokerToken]]
"""Gives a fresh token. Raises `BrokerTokenError` where another try may help, and
`BrokerLoginError` where we may have none."""

Update = Callable[[str], Awaitable[None]]
"""Hands a token to the broker on the open connection; raises `BrokerError`."""


class TokenLogin:
    """One connection's login, of which one token after the other is the password.

    Times are those of the event loop, which no change of the date moves.
    """

    def __init__(self, source: TokenSource, *, name: str) -> None:
        self._source = source
        self._name = name
        self._renew_at = self._ends_at = 0.0

    async def password(self, deadline: float) -> str:
        """A fresh token, within `deadline` seconds.

        Raises:
            BrokerTokenError: none was given in that time.
            BrokerLoginError: none will be.
        """
        asked_at, token = await self._ask(deadline)
        self._begin(asked_at, token)
        return token.text

    async def keep(self, update: Update) -> None:
        """Renew the token whenever it is time; return once it has expired, having failed to.

        A broker need not end a connection whose token is expired (RabbitMQ 3.10 refuses one act
        after the other instead): that is for the caller.
        """
        backoff = Backoff()
        wait = self._until(self._renew_at)
        while True:
            await asyncio.sleep(wait)
            left = self._until(self._ends_at)
            if not left:
                log.warning("broker_token_expired", link=self._name)
                return
            try:
                await self._renew(update, min(left, ATTEMPT))
            except BrokerError as error:
                log.warning("broker_token_not_renewed", link=self._name, detail=error.detail)
                wait = min(backoff.next_wait(), self._until(self._ends_at))
            else:
                log.info("broker_token_renewed", link=self._name)
                backoff.reset()
                wait = self._until(self._renew_at)

    async def _renew(self, update: Update, deadline: float) -> None:
        try:
            async with asyncio.timeout(deadline):
                asked_at, token = await self._ask(deadline)
                await update(token.text)
        except TimeoutError as error:
            raise BrokerTokenError("the broker did not take the next token in time") from error
        self._begin(asked_at, token)

    async def _ask(self, deadline: float) -> tuple[float, BrokerToken]:
        asked_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(deadline):
                return asked_at, await self._source()
        except TimeoutError as error:
            raise BrokerTokenError("no token for the broker was given in time") from error

    def _begin(self, asked_at: float, token: BrokerToken) -> None:
        self._renew_at = asked_at + token.life * RENEWED_AFTER
        self._ends_at = asked_at + token.life

    @staticmethod
    def _until(moment: float) -> float:
        return max(0.0, moment - asyncio.get_running_loop().time())
