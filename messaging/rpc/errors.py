"""What a caller gets in the place of a reply, and what an answering handler may raise."""

from typing import Final

from messaging.errors import MessagingError

UNAVAILABLE: Final = "unavailable"
"""The service cannot answer at present, for a fault of its own that passes."""

INTERNAL_ERROR: Final = "internal_error"
"""The service failed at this request; its log says how."""


class Refused(Exception):  # noqa: N818 - a reply, not an error of the service's
    """Raised by an answering handler: the caller gets `code` and `detail`.

    retry_after: seconds after which the same may be granted; None where that is not known.
    """

    def __init__(self, code: str, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.retry_after = retry_after


class RpcError(MessagingError):
    """A request brought no result."""

    code = "rpc"


class RpcTimeoutError(RpcError):
    """No reply before the deadline. Whether the request was carried out is not known."""

    code = "rpc_timeout"


class RpcUnavailableError(RpcTimeoutError):
    """The service says that it cannot answer at present: as good as no reply, and sooner."""

    code = "rpc_unavailable"


class RpcRefusedError(RpcError):
    """The service refuses; `code` is its reason.

    retry_after: seconds after which the same may be granted, where the service says so.
    """

    def __init__(self, code: str, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.retry_after = retry_after


class NoRecipientKeyError(RpcError):
    """The key set statement lists no encryption key for a party that a body is meant for."""

    code = "no_recipient_key"
