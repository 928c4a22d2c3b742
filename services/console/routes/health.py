"""Whether the console lives, and does its work."""

from fastapi import APIRouter
from starlette.responses import JSONResponse

from services.console.parts import Parts
from services.health import LIVE, READY, live, readiness

router = APIRouter()


@router.get(LIVE)
async def say_live() -> JSONResponse:
    """It turns."""
    status, said = live()
    return JSONResponse(said, status_code=status)


@router.get(READY)
async def say_ready(parts: Parts) -> JSONResponse:
    """Each check holds, now."""
    status, said = readiness(parts.checks)
    return JSONResponse(said, status_code=status)
