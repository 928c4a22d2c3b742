"""The way to the operators' console, which is a process of its own (`services.console`)."""

from fastapi import APIRouter, Response

CONSOLE = "/console"


def make_router(console_url: str) -> APIRouter:
    """A route that leads there.

    307, which browsers do not keep: it may be elsewhere tomorrow (RFC 9110 §15.4.8).
    """
    router = APIRouter(include_in_schema=False)

    async def lead() -> Response:
        return Response(status_code=307, headers={"Location": f"{console_url}{CONSOLE}"})

    router.add_api_route(CONSOLE, lead, methods=["GET", "HEAD"])
    return router
