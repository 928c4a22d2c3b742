"""The bodies of requests and replies: JSON, encrypted to their receiver where that is asked for."""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from auth.encryption import DecryptionKey
from auth.errors import Code, MalformedTokenError
from auth.message import Route
from auth.trust import TrustSource
from messaging.contract import parse_body
from messaging.rpc.errors import (
    UNAVAILABLE,
    NoRecipientKeyError,
    RpcRefusedError,
    RpcUnavailableError,
)
from messaging.topology import REPLY

MAX_REPLY = 4 * 1024 * 1024
"""Largest reply that is read, in bytes."""

R = TypeVar("R", bound=BaseModel)


class ReplyError(BaseModel):
    """Why there is no result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    detail: str
    retry_after: int | None = Field(default=None, gt=0)
    """Seconds after which the same may be granted."""


class Reply(BaseModel, Generic[R]):
    """`{"ok": …}` or `{"error": …}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ok: SerializeAsAny[R] | None = None
    error: ReplyError | None = None

    def to_body(self) -> bytes:
        return self.model_dump_json(exclude_unset=True).encode()


def refused_reply(code: str, detail: str, *, retry_after: int | None = None) -> "Reply[BaseModel]":
    error = ReplyError(code=code, detail=detail)
    if retry_after is not None:  # what is not set is not sent
        error = ReplyError(code=code, detail=detail, retry_after=retry_after)
    return Reply[BaseModel](error=error)


def read_reply(result: type[R], body: bytes) -> R:
    """The result in a reply.

    Raises:
        RpcRefusedError, RpcUnavailableError: there is none, and why.
        InvalidBodyError: it is no reply with such a result.
    """
    reply: Reply[R] = parse_body(Reply[result], body, limit=MAX_REPLY)  # type: ignore[valid-type]
    if reply.ok is not None:
        return reply.ok
    error = reply.error or ReplyError(code="invalid_reply", detail="neither result nor error")
    if error.code == UNAVAILABLE:
        raise RpcUnavailableError(error.detail)
    raise RpcRefusedError(error.code, error.detail, retry_after=error.retry_after)


def reply_route(reply_to: str, request_type: str) -> Route:
    """The route of a reply: to the caller's own queue, of a type of its own."""
    return Route(REPLY.name, reply_to, f"{request_type}.reply")


class Cipher:
    """Writes to others with the keys that the trust source lists, and reads with our own."""

    def __init__(self, trust: TrustSource, decryption: DecryptionKey | None) -> None:
        self._trust = trust
        self._decryption = decryption

    def encrypt(self, body: bytes, receiver: str) -> bytes:
        """A compact JWE that only `receiver`, a client id, can open.

        Raises:
            NoRecipientKeyError: the statement lists no key to write to.
        """
        client = self._trust.key_set.clients.get(receiver)
        if client is None or client.enc is None:
            raise NoRecipientKeyError(
                f"the key set statement lists no encryption key for {receiver}"
            )
        return client.enc.encrypt(body)

    def decrypt(self, unverified_jwe: bytes) -> bytes:
        """Open a body that was written to us.

        Raises:
            MalformedTokenError: it was not.
        """
        if self._decryption is None:
            raise MalformedTokenError(Code.MALFORMED_TOKEN, "we have no key to open a body with")
        return self._decryption.decrypt(unverified_jwe)
