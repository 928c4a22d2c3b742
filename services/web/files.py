"""The files of a page, and the headers that keep a browser from running anything else."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request, Response

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

SHARED: Final = "services.web.page"
"""What every page has."""

_NOT_MODIFIED: Final = 304


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of a page, as it is answered."""

    content: bytes
    media_type: str
    tag: str

    def answer(self, request: Request) -> Response:
        headers = {**_HEADERS, "ETag": self.tag}
        if request.headers.get("if-none-match") == self.tag:
            return Response(status_code=_NOT_MODIFIED, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def page_files(*packages: str) -> dict[str, PageFile]:
    """The files of the page that lies in packages, by name; of the same name, the last one's."""
    found = {}
    for each in (each for package in packages for each in files(package).iterdir()):
        media_type = _TYPES.get(each.name.rpartition(".")[2])
        if media_type is not None:
            content = each.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[each.name] = PageFile(content, media_type, tag)
    return found


def route_files(router: APIRouter, package: str, *, index: str, below: str) -> None:
    """Answer for each file: the index at its own address, the others below one.

    Beside the package's own files are those that every page has. Their names are all that can be
    asked for.
    """
    for name, file in page_files(SHARED, package).items():
        path = index if name == _INDEX else f"{below}/{name}"
        router.add_api_route(path, _answering(file), methods=["GET", "HEAD"])


def _answering(file: PageFile) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return file.answer(request)

    return answer
