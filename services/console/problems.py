"""What the console answers besides what every service over HTTP does."""

from collections.abc import Mapping
from typing import Final

from messaging.rpc import RpcRefusedError
from services.web.problems import Kind, ProblemError

UNKNOWN_QUEUE: Final = Kind("unknown_queue", 404, "There is no such work queue")
UNKNOWN_LETTER: Final = Kind("unknown_letter", 404, "There is no such dead letter here")
BEING_READ: Final = Kind("being_read", 503, "Somebody else reads these dead letters")

REFUSALS: Final[Mapping[str, Kind]] = {
    kind.code: kind
    for kind in (
        Kind("unknown_account", 404, "There is no such account"),
        Kind("unknown_session", 404, "There is no such session"),
        Kind("unknown_key", 404, "There is no such key"),
        Kind("no_next_key", 409, "There is no key that could sign next"),
        Kind("rotated_meanwhile", 409, "Somebody else has changed the key meanwhile"),
    )
}
"""What the user service refuses to operators, by its code."""


def refused(refusal: RpcRefusedError) -> Exception:
    """The problem for it; the refusal itself where it is one that everybody knows."""
    kind = REFUSALS.get(refusal.code)
    return refusal if kind is None else ProblemError(kind, refusal.detail)
