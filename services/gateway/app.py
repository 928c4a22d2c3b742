"""The gateway's HTTP app, made of its parts."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from services.gateway.commands import KEY_HEADER
from services.gateway.direct import DirectWay
from services.gateway.journeys import HEADER
from services.gateway.oauth_errors import OAuthError, oauth_error
from services.gateway.openapi import DESCRIPTION, TAGS, describe
from services.gateway.parts import GatewayParts
from services.gateway.routes import (
    authorize,
    console,
    device,
    discovery,
    events,
    introspection,
    journeys,
    orders,
    own,
    page,
    playground,
    revocation,
    sessions,
    token,
)
from services.web.edge import Edge
from services.web.handlers import install_handlers
from services.web.observing import Observed


def routed_app() -> FastAPI:
    """The routes and what describes them, without the parts that answer."""
    app = FastAPI(
        title="Carnet",
        version="1",
        summary="Orders, placed by messages in which trust travels along.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,  # they load scripts from elsewhere, which the content policy forbids
        redoc_url=None,
        redirect_slashes=False,
        # Its spans would carry the query of an address, where a token may have been sent.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    install_handlers(app)
    app.add_exception_handler(OAuthError, oauth_error)
    # `/v1/orders/events` before `/v1/orders/{order_id}`: the first that fits is taken. And what is
    # asked for most is tried first.
    oauth = (token, revocation, introspection, authorize, device, discovery)
    for routes in (events, orders, sessions, *oauth, journeys):
        app.include_router(routes.router)
    describe(app)
    return app


def create_app(parts: GatewayParts) -> FastAPI:
    """Make the app. It owns nothing: whoever made the parts ends them."""
    app = routed_app()
    app.state.parts = parts
    if parts.options.declared:
        app.include_router(own.commands_of(parts.options.declared))
    if parts.options.playground:
        app.include_router(playground.router)
    app.include_router(page.make_router())
    if parts.options.console_url is not None:
        app.include_router(console.make_router(parts.options.console_url))
    app.add_middleware(DirectWay, routes={("POST", orders.ORDERS): orders.placing(parts)})
    if parts.options.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=parts.options.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", KEY_HEADER, "Last-Event-ID", HEADER],
            allow_credentials=False,  # tokens travel in a header, never in a cookie
            expose_headers=["Location", KEY_HEADER, "Retry-After", "WWW-Authenticate"],
        )
    app.add_middleware(
        Edge,
        secure=parts.options.secure,
        receive_deadline=parts.options.receive_deadline,
    )
    app.add_middleware(Observed, telemetry=parts.telemetry)  # added last: outermost
    return app
