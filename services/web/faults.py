"""Which problem each fault becomes: one table for the services' refusals, one for our own."""

from collections.abc import Mapping
from typing import Final

from auth.errors import Code, TrustUnavailableError
from messaging.contract import InvalidBodyError
from messaging.errors import (
    BacklogFullError,
    BrokerBlockedError,
    BrokerUnavailableError,
    DatabaseUnavailableError,
    PublishForbiddenError,
    UnconfirmedError,
    UnroutableError,
)
from messaging.rpc import NoRecipientKeyError, RpcRefusedError, RpcTimeoutError
from services.web import problems
from services.web.problems import Kind, ProblemError

RETRY_AFTER: Final = {"Retry-After": "2"}
"""Seconds. Everything that answers 503 resumes by itself, mostly at the next reconnect."""

CHALLENGE: Final = 'Bearer realm="carnet"'
"""What a 401 asks for (RFC 6750 §3)."""

REFUSALS: Final[Mapping[str, Kind]] = {
    "not_found": problems.NOT_FOUND,
    "name_taken": problems.NAME_TAKEN,
    "invalid_credentials": problems.INVALID_CREDENTIALS,
    "too_many_attempts": problems.TOO_MANY_ATTEMPTS,
    "invalid_grant": problems.SESSION_ENDED,
    "invalid_cursor": problems.INVALID_REQUEST,
    Code.INSUFFICIENT_SCOPE: problems.INSUFFICIENT_SCOPE,
    "invalid_scope": problems.INSUFFICIENT_SCOPE,
    Code.REVOKED: problems.SESSION_ENDED,
    Code.EXPIRED: problems.UPSTREAM_UNAVAILABLE,  # a carnet that grew old on the way: once more
}
"""A service's refusal, by its code. Any other one means that we asked wrongly: 502."""

FAULTS: Final[Mapping[type[Exception], tuple[Kind, str]]] = {  # the first that fits
    BrokerBlockedError: (
        problems.BROKER_BLOCKED,
        "The broker takes no messages at present; nothing was accepted.",
    ),
    BrokerUnavailableError: (
        problems.BROKER_UNAVAILABLE,
        "The broker cannot be reached; nothing was accepted.",
    ),
    BacklogFullError: (
        problems.BACKLOG_FULL,
        "Too much waits for the broker already; nothing was accepted.",
    ),
    UnroutableError: (
        problems.UNROUTABLE,
        "No service takes this at present; nothing was accepted.",
    ),
    PublishForbiddenError: (
        problems.UNROUTABLE,
        "The broker does not let us send this; nothing was accepted.",
    ),
    UnconfirmedError: (
        problems.UNCONFIRMED,
        "The broker did not confirm in time; whether it arrived is not known.",
    ),
    RpcTimeoutError: (problems.UPSTREAM_UNAVAILABLE, "A service did not answer in time."),
    NoRecipientKeyError: (
        problems.UPSTREAM_UNAVAILABLE,
        "The key set statement names no key to write to a service with.",
    ),
    InvalidBodyError: (problems.UPSTREAM_REFUSED, "A service's answer cannot be read."),
    TrustUnavailableError: (
        problems.TRUST_UNAVAILABLE,
        "What is trusted cannot be said at present; no token is judged.",
    ),
    DatabaseUnavailableError: (
        problems.STORE_UNAVAILABLE,
        "The database cannot be used at present; nothing was accepted.",
    ),
}
"""Faults that are no caller's; those that answer 503 pass."""


def problem_of(error: Exception) -> ProblemError | None:
    """The problem to answer with; None where the fault is not one that we foresaw."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RpcRefusedError):
        return refused(error)
    for family, (kind, detail) in FAULTS.items():
        if isinstance(error, family):
            passes = kind.status == problems.UPSTREAM_UNAVAILABLE.status
            return ProblemError(kind, detail, headers=RETRY_AFTER if passes else None)
    return None


def refused(error: RpcRefusedError) -> ProblemError:
    """The problem for a service's refusal."""
    kind = REFUSALS.get(error.code, problems.UPSTREAM_REFUSED)
    if kind is problems.UPSTREAM_REFUSED:
        return ProblemError(kind, f"The service's reason: {error.code}.")
    if kind.status == problems.SESSION_ENDED.status:
        return ProblemError(kind, error.detail, headers={"WWW-Authenticate": CHALLENGE})
    if kind.status in {problems.TOO_MANY_ATTEMPTS.status, problems.UPSTREAM_UNAVAILABLE.status}:
        wait = error.retry_after
        headers = RETRY_AFTER if wait is None else {"Retry-After": str(wait)}
        return ProblemError(kind, error.detail, headers=headers)
    return ProblemError(kind, error.detail)


def quotable(text: str) -> str:
    """The text without what may not stand in an error description (RFC 6749 §5.2)."""
    return "".join(char for char in text if " " <= char <= "~" and char not in '"\\')
