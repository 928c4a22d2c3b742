"""The carnets by which a service acts for its callers: each the caller's own, narrowed, one hop on.

By token exchange (RFC 8693 §4.1) over RPC, and kept while they last: a caller's messages that come
with one carnet need one exchange.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from auth.claims import join_scope
from auth.errors import TrustUnavailableError
from auth.message import VerifiedMessage
from messaging.contract import InvalidBodyError
from messaging.errors import (
    BrokerUnavailableError,
    PublishError,
    PublishForbiddenError,
    TransientError,
)
from messaging.onward import EXPIRED, REFUSED, TOO_LONG, Onward, OnwardError
from messaging.rpc import NoRecipientKeyError, RpcClient, RpcRefusedError, RpcTimeoutError
from services.contracts.topology import USER_SERVICE
from services.contracts.users import Exchange

CAPACITY: Final = 10_000
MARGIN: Final = 60.0
"""Seconds that a carnet must still have to be used again: it travels, and clocks differ."""

DEADLINE: Final = 5.0
"""Seconds for the user service to answer."""

_Key = tuple[str, str, frozenset[str]]


@dataclass(slots=True)
class _Place:
    """Where one carnet is kept; whoever has the turn may ask for it."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    carnet: str = ""
    until: float = 0.0


class ExchangedCarnets:
    """A `messaging.onward.OnwardCarnets`; the least recently used are forgotten first.

    The client needs `users.exchange.v1` among its `publishes`, and the audience among its
    `exchanges`.
    """

    def __init__(
        self, rpc: RpcClient, *, clock: Callable[[], float], capacity: int = CAPACITY
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._capacity = capacity
        self._places: OrderedDict[_Key, _Place] = OrderedDict()

    async def __call__(
        self, message: VerifiedMessage, unverified_carnet: str, unverified_seal: str, hop: Onward
    ) -> str:
        """As `OnwardCarnets`."""
        parent = message.carnet
        if parent is None or parent.exp <= int(self._clock()):
            raise OnwardError(EXPIRED, "the carnet that came with the message has ended")
        key = (parent.jti, hop.to, hop.scopes)
        place = self._places.setdefault(key, _Place())
        self._places.move_to_end(key)
        while len(self._places) > self._capacity:
            self._places.popitem(last=False)
        async with place.turn:  # everyone else then finds what the first one got
            if place.until <= self._clock():
                asked_at = self._clock()
                place.carnet, life = await self._exchange(unverified_carnet, unverified_seal, hop)
                place.until = asked_at + life - MARGIN
            return place.carnet

    async def _exchange(self, carnet: str, seal: str, hop: Onward) -> tuple[str, int]:
        """The carnet, and its life in seconds."""
        request = Exchange(
            subject_token=carnet, audience=hop.to, scope=join_scope(hop.scopes), seal=seal
        )
        try:
            got = await self._rpc.call(request, responder=USER_SERVICE, deadline=DEADLINE)
        except RpcRefusedError as error:
            raise _refusal(error, hop) from error
        except (InvalidBodyError, NoRecipientKeyError, PublishForbiddenError) as error:
            # An operator's to mend: counted, so that it is seen, and not waited for for ever.
            raise TransientError(f"no carnet for {hop.to}: {error.detail}") from error
        except (RpcTimeoutError, BrokerUnavailableError, PublishError) as error:
            raise TrustUnavailableError(f"no carnet for {hop.to} now: {error.detail}") from error
        return got.carnet, got.expires_in


def _refusal(error: RpcRefusedError, hop: Onward) -> OnwardError | TransientError:
    """Final is what the issuer says of the caller; what it says of us or of itself may pass."""
    match error.code:
        case "invalid_target":
            return TransientError(f"the key set statement gives us no carnets for {hop.to}")
        case "chain_too_long":
            return OnwardError(TOO_LONG, error.detail)
        case "invalid_grant" | "invalid_scope":
            return OnwardError(REFUSED, error.detail)
        case code:
            return TransientError(f"the issuer did not say: {code}")
