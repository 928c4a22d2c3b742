"""The OpenAPI document: FastAPI's, with the schemas that it cannot see."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.gateway.bearer import OAUTH2
from services.web.problems import Problem

DESCRIPTION: Final = """\
Commands are answered with 202 once the broker holds them, and with a problem document (RFC 9457)
that says how to go on where that is not known. A command that is sent again with the same
`Idempotency-Key` is the same command.

Besides what each operation documents, the server answers 413 to any body of more than 64 KiB, 431
to header fields of more than 16 KiB, and 400 to what is not HTTP; likewise as problem documents.
"""

TAGS: Final = [
    {"name": "sessions", "description": "Register, sign in, sign out."},
    {"name": "oauth", "description": "Tokens for OAuth 2 clients (RFC 6749, 7009, 7523, 7662)."},
    {"name": "orders", "description": "Orders and their events."},
    {"name": "playground", "description": "Forgeries of one's own messages; where it is on."},
    {"name": "discovery", "description": "Keys and metadata (RFC 7517, RFC 8414)."},
    {"name": "health", "description": "For those who run it."},
]

_REF: Final = "#/components/schemas/{model}"
_JWK_SET: Final = {
    "title": "JwkSet",
    "type": "object",
    "required": ["keys"],
    "properties": {
        "keys": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["kty", "kid"],
                "properties": {
                    name: {"type": "string"} for name in ("kty", "kid", "alg", "use", "crv")
                },
            },
        }
    },
}
_OAUTH_ERROR: Final = {
    "title": "OAuthError",
    "description": "An error response of the OAuth 2 endpoints (RFC 6749 §5.2).",
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
}


def describe(app: FastAPI) -> None:
    """Have `app` answer `/openapi.json` with the whole document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    problem = Problem.model_json_schema(mode="serialization", ref_template=_REF, by_alias=True)
    schemas = document["components"]["schemas"]
    schemas |= problem.pop("$defs")
    schemas |= {"Problem": problem, "JwkSet": _JWK_SET, "OAuthError": _OAUTH_ERROR}
    # FastAPI describes streams in words of OpenAPI 3.2, which few tools know yet.
    for path in ("/v1/orders/events", "/v1/journeys"):
        stream = document["paths"][path]["get"]["responses"]["200"]["content"]
        del stream["text/event-stream"]["itemSchema"]
        stream["text/event-stream"]["schema"] = {"type": "string"}
    document["components"]["securitySchemes"]["oauth2"] = OAUTH2.model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    for path in document["paths"].values():
        for operation in path.values():
            security = operation.get("security", [])
            if not any("oauth2" in each for each in security):
                security += [{"oauth2": each["bearer"]} for each in security if "bearer" in each]
            operation["responses"] = dict(sorted(operation["responses"].items()))
    return document
