"""The user's own order events, as they happen."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Security
from fastapi.sse import EventSourceResponse, ServerSentEvent

from services.contracts import scopes
from services.contracts.orders import EventsPage, ListOrderEvents
from services.contracts.topology import ORDER_SERVICE
from services.gateway import examples
from services.gateway.bearer import caller, judge
from services.gateway.carnets import Caller
from services.gateway.documents import RPC, SCOPED, Responses, problems_of
from services.gateway.live import TooManyStreamsError
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.stream import OrderStream, Standing
from services.web import problems
from services.web.problems import ProblemError

PAGE: Final = 100
_SEQUENCE: Final = r"^[0-9]{1,15}$"
_DOCUMENTED: Final[Responses] = {
    **problems_of(*SCOPED, problems.INVALID_REQUEST, problems.TOO_MANY_STREAMS, *RPC),
    200: {
        "description": "Events in order, each once: `id` counts the user's events without a gap, "
        "`event` is the type, `data` the event as JSON. Comments are signs of life. The last one "
        "is `end`, with its `reason`: token_expired, session_ended, slow_client, shutdown.",
        "content": {"text/event-stream": {"example": examples.EVENTS}},
    },
}

router = APIRouter(tags=["orders"])


async def open_stream(
    reader: Annotated[Caller, Security(caller, scopes=[scopes.ORDERS_READ])],
    parts: Annotated[GatewayParts, Depends(parts_of)],
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            pattern=_SEQUENCE,
            description="The last event that was seen: those after it are sent first. "
            "Without it the stream begins with what happens from now on.",
        ),
    ] = None,
    last_seen: Annotated[
        str | None,
        Query(
            alias="last_event_id",
            pattern=_SEQUENCE,
            description="The same, for clients that cannot send the header.",
        ),
    ] = None,
) -> AsyncIterator[OrderStream]:
    """A stream that is subscribed before its client hears of it, so that nothing falls between."""

    async def history(after: int, limit: int = PAGE) -> EventsPage:
        return await parts.rpc.call(
            ListOrderEvents(after=after, limit=limit),
            responder=ORDER_SERVICE,
            deadline=parts.options.rpc_deadline,
            carnet=await parts.carnets.carnet(
                reader, audience=ORDER_SERVICE, scopes=frozenset({scopes.ORDERS_READ})
            ),
        )

    resumed = last_event_id or last_seen
    try:
        with parts.hub.subscribe(reader.claims) as subscription:
            # Once more: a revocation that came since the first time has ended no stream of it.
            judge(parts, reader.token)
            standing = Standing(reader.token, parts.verifier, parts.trust)
            after = int(resumed) if resumed else (await history(0, limit=0)).latest
            yield OrderStream(
                subscription=subscription,
                history=history,
                clock=parts.clock,
                after=after,
                replay=resumed is not None,
                expires_at=reader.claims.exp,
                heartbeat=parts.options.heartbeat,
                trusted=lambda: standing.holds(now=parts.clock()),
            )
    except TooManyStreamsError as error:
        raise ProblemError(
            problems.TOO_MANY_STREAMS, "Close another stream first.", headers={"Retry-After": "10"}
        ) from error


@router.get(
    "/v1/orders/events",
    operation_id="orderEvents",
    summary="Order events",
    response_class=EventSourceResponse,
    responses=_DOCUMENTED,
)
async def order_events(
    stream: Annotated[OrderStream, Depends(open_stream)],
) -> AsyncIterator[ServerSentEvent]:
    """The user's order events, live, as server-sent events; ends when the access token does."""
    async for event in stream.events():
        yield event
