"""The operator's desk: asks the issuer in an operator's name about dead letters.

It is a client of its own, `operator-desk`, with keys that the key set statement lists. Whose name
it is says an access token: of a session that a command begins for itself
(`services.operations.seat`), or the one with which somebody asks the console.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from pydantic import ValidationError

from auth.errors import Code
from auth.release import Lift
from messaging.letters import Letter
from messaging.publisher import Publisher
from messaging.rpc import RpcClient, RpcRefusedError
from services.contracts.topology import USER_SERVICE
from services.contracts.users import DiscardLetter, ReleaseLetter

DEADLINE: Final = 10.0
"""Seconds for the user service's answer."""

AccessToken = Callable[[], Awaitable[str]]
"""The operator's access token, as of now. Raises what `RpcClient.call` does."""


class Desk:
    """Asks the issuer in an operator's name, and publishes what it states."""

    def __init__(self, rpc: RpcClient, publisher: Publisher, access_token: AccessToken) -> None:
        self._rpc = rpc
        self.publisher = publisher
        self._access_token = access_token

    async def release(self, letter: Letter, lift: tuple[Lift, ...]) -> str:
        """The issuer's statement that a letter is to be taken after all.

        Raises:
            RpcRefusedError: it refuses, or would; the code says why.
            RpcTimeoutError, BrokerError, PublishError: nobody knows.
        """
        access_token = await self._access_token()
        try:
            request = ReleaseLetter(
                access_token=access_token,
                carnet=letter.unverified_carnet,
                seal=letter.unverified_seal or "",
                lift=lift,
            )
        except ValidationError:  # longer than can be asked about
            raise RpcRefusedError(
                Code.MALFORMED_TOKEN, "its carnet or its seal is no token"
            ) from None
        answer = await self._rpc.call(request, responder=USER_SERVICE, deadline=DEADLINE)
        return answer.release

    async def discard(self, letter: Letter, *, genuine: bool) -> str | None:
        """Have a discard written down; the issuer's statement of it, if the letter is genuine.

        Raises:
            RpcRefusedError, RpcTimeoutError, BrokerError, PublishError: as `release`.
        """
        request = DiscardLetter(
            access_token=await self._access_token(),
            letter=letter.digest,
            carnet=letter.unverified_carnet if genuine else None,
            seal=letter.unverified_seal if genuine else None,
        )
        answer = await self._rpc.call(request, responder=USER_SERVICE, deadline=DEADLINE)
        return answer.release
