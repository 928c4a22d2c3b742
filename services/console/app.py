"""The console's HTTP app, made of its parts."""

from typing import Final

from fastapi import APIRouter, FastAPI

from services.console.parts import ConsoleParts
from services.console.routes import accounts, audit, health, keys, letters, session, standing
from services.web.edge import Edge
from services.web.files import route_files
from services.web.handlers import install_handlers
from services.web.observing import Observed

INDEX: Final = "/console"
PAGE: Final = "/console/page"
API: Final = "/console/api"


def create_app(parts: ConsoleParts) -> FastAPI:
    """Make the app. It owns nothing: whoever made the parts ends them."""
    app = FastAPI(
        title="Carnet console",
        openapi_url=None,  # who has not signed in is told nothing of it
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Its spans would carry the query of an address.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.parts = parts
    install_handlers(app)
    for routes in (session, letters, accounts, keys, standing, audit):
        app.include_router(routes.router, prefix=API)
    app.include_router(health.router)
    page = APIRouter()
    route_files(page, "services.console.page", index=INDEX, below=PAGE)
    app.include_router(page)
    app.add_middleware(
        Edge,
        secure=parts.options.secure,
        receive_deadline=parts.options.receive_deadline,
    )
    app.add_middleware(Observed, telemetry=parts.telemetry)  # added last: outermost
    return app
