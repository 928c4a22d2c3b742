"""Problem documents (RFC 9457): every error that is answered over HTTP, and its form there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: a stable code, its status, and a title that never varies."""

    code: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The problem type (RFC 9457 §3.1.1): an identifier, not a place."""
        return f"urn:carnet:problem:{self.code}"


MALFORMED_REQUEST: Final = Kind("malformed_request", 400, "The request cannot be read")
TOKEN_IN_QUERY: Final = Kind("token_in_query", 400, "A token does not belong in the address")
DUPLICATE_TOKEN: Final = Kind("duplicate_token", 400, "More than one access token")
MISSING_TOKEN: Final = Kind("missing_token", 401, "An access token is required")
INVALID_CREDENTIALS: Final = Kind("invalid_credentials", 401, "Name or password is wrong")
SESSION_ENDED: Final = Kind("invalid_grant", 401, "The session has ended")
INSUFFICIENT_SCOPE: Final = Kind("insufficient_scope", 403, "The access token may not do this")
NOT_FOUND: Final = Kind("not_found", 404, "There is no such thing here")
METHOD_NOT_ALLOWED: Final = Kind("method_not_allowed", 405, "The method is not allowed here")
REQUEST_TIMEOUT: Final = Kind("request_timeout", 408, "The request took too long to arrive")
NAME_TAKEN: Final = Kind("name_taken", 409, "The name is taken")
BODY_TOO_LARGE: Final = Kind("body_too_large", 413, "The body is too large")
UNSUPPORTED_MEDIA_TYPE: Final = Kind("unsupported_media_type", 415, "The content type is wrong")
INVALID_REQUEST: Final = Kind("invalid_request", 422, "The request is not valid")
IDEMPOTENCY_KEY_REUSED: Final = Kind(
    "idempotency_key_reused", 422, "The idempotency key belongs to another request"
)
TOO_MANY_ATTEMPTS: Final = Kind("too_many_attempts", 429, "Too many attempts")
TOO_MANY_STREAMS: Final = Kind("too_many_streams", 429, "Too many open streams")
HEADERS_TOO_LARGE: Final = Kind("headers_too_large", 431, "The header fields are too large")
INTERNAL_ERROR: Final = Kind("internal_error", 500, "Something went wrong here")
UPSTREAM_REFUSED: Final = Kind("upstream_refused", 502, "A service refused what it was asked")
UPSTREAM_UNAVAILABLE: Final = Kind("upstream_unavailable", 503, "A service does not answer")
BROKER_UNAVAILABLE: Final = Kind("broker_unavailable", 503, "The broker cannot be reached")
BROKER_BLOCKED: Final = Kind("broker_blocked", 503, "The broker takes no messages at present")
BACKLOG_FULL: Final = Kind("backlog_full", 503, "Too much waits for the broker")
UNROUTABLE: Final = Kind("unroutable", 503, "Nobody takes such commands at present")
UNCONFIRMED: Final = Kind("unconfirmed", 503, "The broker did not confirm the command")
STORE_UNAVAILABLE: Final = Kind("store_unavailable", 503, "The database is unavailable")
TRUST_UNAVAILABLE: Final = Kind("trust_unavailable", 503, "Tokens cannot be judged at present")
NOT_READY: Final = Kind("not_ready", 503, "The service is not ready")


def token_refused(code: str) -> Kind:
    """The access token was refused, with the verifier's own stable code."""
    return Kind(code, 401, "The access token is refused")


class FieldError(BaseModel):
    """One thing that is wrong with the request, and where."""

    detail: str = Field(examples=["Input should be greater than or equal to 1"])
    pointer: str | None = Field(
        default=None,
        description="Where in the body, as a JSON pointer in a fragment (RFC 6901 §6).",
        examples=["#/lines/0/quantity"],
    )
    parameter: str | None = Field(
        default=None, description="Name of the parameter or header.", examples=["limit"]
    )
    place: Literal["body", "query", "path", "header", "cookie"] = Field(
        serialization_alias="in", examples=["body"]
    )


class Problem(BaseModel):
    """A problem document (RFC 9457 §3)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Identifies the kind of problem; ends in its `code`.")
    title: str
    status: int
    detail: str = Field(description="What is wrong this time. Never quotes a token or password.")
    instance: str = Field(description="Identifies this occurrence; the log names it.")
    code: str = Field(description="Stable code of the kind.")
    errors: list[FieldError] | None = Field(
        default=None, description="Each fault of an invalid request."
    )


class ProblemError(HTTPException):
    """Answers the request with a problem document.

    A Starlette exception, since only those pass through FastAPI's reading of a body.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
        **members: Any,
    ) -> None:
        super().__init__(kind.status, detail, dict(headers or {}))
        self.kind = kind
        self.errors = tuple(errors)
        self.members = members

    def adding(self, headers: Mapping[str, str], **members: Any) -> "ProblemError":
        """The same problem with more headers and members."""
        return ProblemError(
            self.kind,
            self.detail,
            headers={**(self.headers or {}), **headers},
            errors=self.errors,
            **{**self.members, **members},
        )


def render(problem: ProblemError, instance: str) -> bytes:
    """The document's bytes."""
    document = Problem(
        type=problem.kind.type,
        title=problem.kind.title,
        status=problem.kind.status,
        detail=problem.detail,
        instance=instance,
        code=problem.kind.code,
        errors=list(problem.errors) or None,
        **problem.members,
    )
    return document.model_dump_json(by_alias=True, exclude_none=True).encode()


def new_instance() -> str:
    """An id for one occurrence."""
    return uuid4().urn


def problem_response(problem: ProblemError, instance: str | None = None) -> Response:
    """The answer that carries the document."""
    return Response(
        render(problem, instance or new_instance()),
        status_code=problem.kind.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )
