"""The page at `/`, its files, and what it needs to know about this gateway."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from services.gateway.parts import GatewayParts, parts_of

_RULES: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'none'",  # forms are sent by script, never by the browser itself
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",  # no text becomes markup or code
    "trusted-types 'none'",
)

POLICY: Final = "; ".join(_RULES)
"""Content-Security-Policy: nothing inline, nothing from elsewhere (CSP Level 3)."""

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Asked for again at each load; the answer is mostly 304. (`no-cache` would say the same, and is
    # what the edge takes for FastAPI's own word on a stream.)
    "Cache-Control": "max-age=0, must-revalidate",
}

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_INDEX: Final = "index.html"
_NOT_MODIFIED: Final = 304


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the page, as it is answered."""

    content: bytes
    media_type: str
    tag: str

    def answer(self, request: Request) -> Response:
        headers = {**_HEADERS, "ETag": self.tag}
        if request.headers.get("if-none-match") == self.tag:
            return Response(status_code=_NOT_MODIFIED, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def page_files() -> dict[str, _File]:
    """The files of the page, by name."""
    found = {}
    for each in files("services.gateway.page").iterdir():
        media_type = _TYPES.get(each.name.rpartition(".")[2])
        if media_type is not None:
            content = each.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[each.name] = _File(content, media_type, tag)
    return found


def make_router() -> APIRouter:
    """Routes for the page's files. Their names are all that can be asked for."""
    router = APIRouter(include_in_schema=False)
    for name, file in page_files().items():
        path = "/" if name == _INDEX else f"/page/{name}"
        router.add_api_route(path, _answering(file), methods=["GET", "HEAD"])
    router.add_api_route("/page/settings", settings, methods=["GET"])
    return router


async def settings(parts: Annotated[GatewayParts, Depends(parts_of)]) -> dict[str, bool]:
    """What the page shows and what it does not."""
    return {"playground": parts.playground is not None}


def _answering(file: _File) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return file.answer(request)

    return answer
