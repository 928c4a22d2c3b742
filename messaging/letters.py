"""A dead letter: a message that was set aside, with notes on why. Nothing in it is believed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from aiormq.abc import DeliveredMessage

from auth.errors import RefusalError
from auth.explain import DecodedToken, decode_unverified
from auth.message import (
    AUTHORIZATION,
    BEARER,
    CARNET_RELEASE,
    CARNET_SEAL,
    Route,
    UnverifiedMessage,
)
from auth.seal import digest
from messaging.envelope import TRACE_HEADERS, Envelope
from messaging.republish import OMITTED
from messaging.settlement import DETAIL, FAILED_AT, QUEUE, REASON, SERVICE
from messaging.topology import RETRY, WorkQueue

UNKNOWN: Final = "unknown"

_NOTES: Final = frozenset({REASON, DETAIL, FAILED_AT, QUEUE, SERVICE, OMITTED, CARNET_RELEASE})


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    body: bytes
    type: str | None
    content_type: str | None
    headers: Mapping[str, object]

    @classmethod
    def of(cls, message: DeliveredMessage) -> Self:
        properties = message.header.properties
        return cls(
            body=message.body,
            type=properties.message_type,
            content_type=properties.content_type,
            headers=properties.headers or {},
        )

    @property
    def reason(self) -> str:
        """Why, as a code; the broker's own word where it was the broker that set it aside."""
        return self.note(REASON) or _death(self.headers) or UNKNOWN

    @property
    def failed_at(self) -> float | None:
        """When, in seconds since the epoch."""
        try:
            return datetime.fromisoformat(self.note(FAILED_AT) or "").timestamp()
        except (ValueError, OverflowError):
            return None

    def note(self, name: str) -> str | None:
        """A header, if it is there and text."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else None

    @property
    def unverified_carnet(self) -> str | None:
        authorization = self.note(AUTHORIZATION)
        if authorization is None or not authorization.startswith(BEARER):
            return None
        return authorization.removeprefix(BEARER)

    @property
    def unverified_seal(self) -> str | None:
        return self.note(CARNET_SEAL)

    @property
    def message_id(self) -> str | None:
        """What the seal says is the message's own id."""
        return _text(self.claims(self.unverified_seal).get("jti"))

    @property
    def client(self) -> str | None:
        """The service that the seal says it is from."""
        return _text(self.claims(self.unverified_seal).get("iss"))

    @property
    def subject(self) -> str | None:
        """Whose it is, as the carnet says."""
        return _text(self.claims(self.unverified_carnet).get("sub"))

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of what was sent: copies of one letter share it.

        The notes on it are left out: they differ where it was set aside more than once.
        """
        state = hashlib.sha256()
        for part in (self.type, self.note(AUTHORIZATION), self.note(CARNET_SEAL)):
            data = (part or "").encode(errors="surrogatepass")
            state.update(len(data).to_bytes(8, "big") + data)
        state.update(self.body)
        return state.hexdigest()

    def claims(self, unverified_token: str | None) -> dict[str, Any]:
        """The claims in one of its tokens, unverified; none where they cannot be read."""
        decoded = self.decoded(unverified_token)
        return {} if decoded is None else decoded.unverified_claims

    def decoded(self, unverified_token: str | None) -> DecodedToken | None:
        """A token of its, as it reads; None where it does not."""
        try:
            return None if unverified_token is None else decode_unverified(unverified_token)
        except (RefusalError, ValueError):
            return None

    @property
    def bound(self) -> bool:
        """Whether its seal, if that is genuine, is of this carnet, body and type."""
        seal = self.claims(self.unverified_seal)
        carnet = self.unverified_carnet
        ath = None if carnet is None else digest(carnet.encode(errors="surrogatepass"))
        return (seal.get("bh"), seal.get("ty"), seal.get("ath")) == (
            digest(self.body),
            self.type,
            ath,
        )

    def unverified(self) -> UnverifiedMessage:
        """The message as it was before anybody released it, to be judged."""
        headers = {n: v for n, v in self.headers.items() if n.lower() != CARNET_RELEASE}
        return UnverifiedMessage(body=self.body, headers=headers, type=self.type)

    def released(self, queue: WorkQueue, release: str) -> Envelope:
        """The message as it was sent, for its work queue alone, with what the issuer states."""
        headers = {
            name: value
            for name, value in self.headers.items()
            if isinstance(value, str) and _is_original(name)
        }
        return Envelope(
            route=Route(RETRY.name, queue.name, self.type or ""),
            body=self.body,
            headers={**headers, CARNET_RELEASE: release},
            content_type=self.content_type,
        )


def _is_original(name: str) -> bool:
    lower = name.lower()
    if lower in _NOTES:
        return False
    return lower == AUTHORIZATION or lower in TRACE_HEADERS or lower.startswith("carnet-")


def _death(headers: Mapping[str, object]) -> str | None:
    """Why the broker itself has moved it, the last time: `delivery_limit`, `expired` and so on."""
    deaths = headers.get("x-death")
    if not isinstance(deaths, list) or not deaths or not isinstance(deaths[0], dict):
        return None
    return _text(deaths[0].get("reason"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
