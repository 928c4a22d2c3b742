"""The responses that a route documents, with an example of each problem it may answer."""

from collections.abc import Mapping
from typing import Any, Final

from services.web import problems
from services.web.problems import MEDIA_TYPE, FieldError, Kind, Problem

Responses = dict[int | str, dict[str, Any]]

_INSTANCE: Final = "urn:uuid:5a4a1b0e-5e0c-4c39-9a0f-8f0d3c1f7f52"
_FAULT: Final = FieldError(
    detail="Input should be greater than or equal to 1",
    place="body",
    pointer="#/lines/0/quantity",
)
_HEADERS: Final[Mapping[int, dict[str, Any]]] = {
    401: {
        "WWW-Authenticate": {
            "description": "The challenge (RFC 6750 §3).",
            "schema": {"type": "string", "examples": ['Bearer realm="carnet"']},
        }
    },
    429: {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    503: {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
}

BODY: Final = (
    problems.MALFORMED_REQUEST,
    problems.REQUEST_TIMEOUT,
    problems.BODY_TOO_LARGE,
    problems.UNSUPPORTED_MEDIA_TYPE,
    problems.INVALID_REQUEST,
)
"""What a route with a body may answer."""

TOKEN: Final = (
    problems.TOKEN_IN_QUERY,
    problems.DUPLICATE_TOKEN,
    problems.MISSING_TOKEN,
    problems.token_refused("expired"),
    problems.SESSION_ENDED,
    problems.TRUST_UNAVAILABLE,
)
"""What a route with an access token may answer."""

SCOPED: Final = (*TOKEN, problems.INSUFFICIENT_SCOPE)
"""What a route that needs a scope may answer."""

RPC: Final = (
    problems.UPSTREAM_REFUSED,
    problems.UPSTREAM_UNAVAILABLE,
    problems.BROKER_UNAVAILABLE,
    problems.BROKER_BLOCKED,
    problems.BACKLOG_FULL,
    problems.UNROUTABLE,
    problems.UNCONFIRMED,
)
"""What a route that asks another service may answer."""


def problems_of(*kinds: Kind) -> Responses:
    """Document these kinds, those of one status together, and the 500 that any route may be."""
    documented: Responses = {}
    for kind in (*kinds, problems.INTERNAL_ERROR):
        entry = documented.setdefault(
            kind.status,
            {
                "description": _description(kind.status, (*kinds, problems.INTERNAL_ERROR)),
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        if kind.status in _HEADERS:
            entry["headers"] = _HEADERS[kind.status]
        entry["content"][MEDIA_TYPE]["examples"][kind.code] = {"value": _example(kind)}
    return documented


def answer(
    status: int, description: str, example: object, *, headers: Mapping[str, str] | None = None
) -> Responses:
    """Document an answer where all is well. `headers`: what each one says."""
    documented: dict[str, Any] = {
        "description": description,
        "content": {"application/json": {"example": example}},
    }
    if headers:
        documented["headers"] = {
            name: {"description": says, "schema": {"type": "string"}}
            for name, says in headers.items()
        }
    return {status: documented}


def _description(status: int, kinds: tuple[Kind, ...]) -> str:
    return (
        "; ".join(dict.fromkeys(f"{kind.title}" for kind in kinds if kind.status == status)) + "."
    )


def _example(kind: Kind) -> dict[str, Any]:
    example = Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=f"{kind.title}.",
        instance=_INSTANCE,
        code=kind.code,
        errors=[_FAULT] if kind is problems.INVALID_REQUEST else None,
    )
    return example.model_dump(mode="json", by_alias=True, exclude_none=True)
