"""The journeys of the user's own messages, as they happen."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Security
from fastapi.sse import EventSourceResponse, ServerSentEvent

from services.contracts import scopes
from services.gateway import examples
from services.gateway.bearer import caller, judge
from services.gateway.carnets import Caller
from services.gateway.documents import SCOPED, Responses, problems_of
from services.gateway.journeys import JourneyStream
from services.gateway.live import TooManyStreamsError
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.stream import Standing
from services.web import problems
from services.web.problems import ProblemError

_DOCUMENTED: Final[Responses] = {
    **problems_of(*SCOPED, problems.TOO_MANY_STREAMS),
    200: {
        "description": "First `journey`, with the name of this `stream`. A command that is sent "
        "with `Carnet-Journey: <stream>.<your name for it>` is then reported on here, as "
        "`orders.journey.v1`, once its outcome stands: each check of the order service with its "
        "verdict and time, and what carnet and seal say; never the tokens. Nothing is kept: what "
        "is told while nobody listens is lost. The last one is `end`, as of `/v1/orders/events`.",
        "content": {"text/event-stream": {"example": examples.JOURNEY}},
    },
}

router = APIRouter(tags=["orders"])


async def open_stream(
    reader: Annotated[Caller, Security(caller, scopes=[scopes.ORDERS_READ])],
    parts: Annotated[GatewayParts, Depends(parts_of)],
) -> AsyncIterator[JourneyStream]:
    """A stream that is there before its client hears of it."""
    try:
        with parts.journeys.subscribe(reader.claims) as (name, subscription):
            # Once more: a revocation that came since the first time has ended no stream of it.
            judge(parts, reader.token)
            standing = Standing(reader.token, parts.verifier, parts.trust)
            yield JourneyStream(
                name=name,
                subscription=subscription,
                clock=parts.clock,
                expires_at=reader.claims.exp,
                heartbeat=parts.options.heartbeat,
                trusted=lambda: standing.holds(now=parts.clock()),
            )
    except TooManyStreamsError as error:
        raise ProblemError(
            problems.TOO_MANY_STREAMS, "Close another stream first.", headers={"Retry-After": "10"}
        ) from error


@router.get(
    "/v1/journeys",
    operation_id="journeys",
    summary="Journeys",
    response_class=EventSourceResponse,
    responses=_DOCUMENTED,
)
async def journeys(
    stream: Annotated[JourneyStream, Depends(open_stream)],
) -> AsyncIterator[ServerSentEvent]:
    """Watch one's own commands travel, check by check, as server-sent events."""
    async for event in stream.events():
        yield event
