"""Forgeries on request; only where the playground is on."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Security
from pydantic import BaseModel, ConfigDict, Field

from services.contracts import scopes
from services.contracts.orders import PlaceOrder
from services.gateway import examples
from services.gateway.bearer import caller
from services.gateway.carnets import Caller
from services.gateway.documents import BODY, RPC, SCOPED, answer, problems_of
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.playground import MAX_TEXT, Forgery, Tried
from services.gateway.requests import NewOrder
from services.web import problems
from services.web.media import JSON, takes
from services.web.problems import ProblemError

FORGERIES: Final = "/v1/playground/forgeries"

router = APIRouter(tags=["playground"])


class NewForgery(BaseModel):
    """The user's own order, and what is to be done to it after it was sealed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    forgery: Forgery
    order: NewOrder
    body: str | None = Field(
        default=None,
        max_length=MAX_TEXT,
        description="With `body`: what takes the place of the sealed body.",
    )


@router.post(
    FORGERIES,
    operation_id="forge",
    summary="Forge a message",
    responses={
        **answer(200, "What became of it.", examples.FORGED),
        **problems_of(*BODY, *SCOPED, problems.TOO_MANY_ATTEMPTS, *RPC),
    },
    dependencies=[Depends(takes(JSON))],
)
async def forge(
    wanted: NewForgery,
    writer: Annotated[Caller, Security(caller, scopes=[scopes.ORDERS_WRITE])],
    parts: Annotated[GatewayParts, Depends(parts_of)],
) -> Tried:
    """Tamper with a message of one's own, and learn from the order service where it is stopped.

    `revoked` ends the session of the access token.
    """
    if parts.playground is None:
        raise ProblemError(problems.NOT_FOUND, "There is no playground here.")
    order = PlaceOrder(lines=wanted.order.lines, currency=wanted.order.currency)
    return await parts.playground.play(wanted.forgery, order, writer, text=wanted.body)
