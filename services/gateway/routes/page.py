"""The page at `/`, its files, and what it needs to know about this gateway."""

from typing import Annotated

from fastapi import APIRouter, Depends

from services.gateway.parts import GatewayParts, parts_of
from services.web.files import route_files


def make_router() -> APIRouter:
    """Routes for the page's files, and what it asks for itself."""
    router = APIRouter(include_in_schema=False)
    route_files(router, "services.gateway.page", index="/", below="/page")
    router.add_api_route("/page/settings", settings, methods=["GET"])
    return router


async def settings(
    parts: Annotated[GatewayParts, Depends(parts_of)],
) -> dict[str, bool | float | None]:
    """What the page shows and what it does not; and which of its clicks shall be traced."""
    return {"playground": parts.playground is not None, "traces": parts.telemetry.share}
