"""Orders: placed and cancelled by command, seen by asking the order service."""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import uuid4

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response, Security

from messaging.contract import Command
from services.contracts import scopes
from services.contracts.orders import (
    CancelOrder,
    GetOrder,
    ListOrders,
    OrderId,
    OrderPage,
    OrderView,
    PlaceOrder,
)
from services.contracts.topology import ORDER_SERVICE
from services.gateway import examples
from services.gateway.bearer import admit, caller
from services.gateway.carnets import Caller
from services.gateway.commands import KEY_HEADER, Commands, Wish
from services.gateway.direct import Direct
from services.gateway.documents import BODY, RPC, SCOPED, answer, problems_of
from services.gateway.journeys import FORM, HEADER, SOUND
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.requests import NewOrder, OrderAccepted
from services.web import problems
from services.web.bearer import lacking
from services.web.media import JSON, media_type, takes

ORDERS: Final = "/v1/orders"
WRITING: Final = frozenset({scopes.ORDERS_WRITE})
VISIBLE: Final = r"[\x21-\x7E]"
MAX_KEY: Final = 255
SOUND_KEY: Final = re.compile(f"{VISIBLE}{{1,{MAX_KEY}}}")

Parts = Annotated[GatewayParts, Depends(parts_of)]
Reader = Annotated[Caller, Security(caller, scopes=[scopes.ORDERS_READ])]
Writer = Annotated[Caller, Security(caller, scopes=[scopes.ORDERS_WRITE])]
OrderPath = Annotated[OrderId, Path(description="The order's id.")]
Key = Annotated[
    str | None,
    Header(
        alias=KEY_HEADER,
        min_length=1,
        max_length=MAX_KEY,
        pattern=f"^{VISIBLE}+$",
        description="The same key and request: the same command, however often it is sent. "
        "Where none is sent, one is made and returned.",
        examples=["0b9f6d1e-6f1e-4f0e-8a40-2f6f0a3f1c55"],
    ),
]
Journey = Annotated[
    str | None,
    Header(
        alias=HEADER,
        pattern=f"^{FORM}$",
        description="Watch this command travel: a stream's name (`/v1/journeys`), a full stop, "
        "and what you call the command.",
        examples=["q83vEjRWeJCrze8SNFZ4kA.first-order"],
    ),
]

COMMAND: Final = (*SCOPED, *RPC, problems.STORE_UNAVAILABLE)
ACCEPTED: Final = answer(
    202,
    "The broker has confirmed the command.",
    examples.ORDER_ACCEPTED,
    headers={
        "Location": "The order: there once it is placed or refused.",
        KEY_HEADER: "The key to repeat the request with.",
    },
)

router = APIRouter(tags=["orders"])


def new_key() -> str:
    """An idempotency key for a request that has none."""
    return str(uuid4())


@dataclass(frozen=True, slots=True)
class Desk:
    """Where one request hands in its command, and learns what to answer."""

    commands: Commands
    request: Request
    key: str
    journey: str | None = None

    async def place(self, order: NewOrder, writer: Caller) -> Response:
        command = PlaceOrder(lines=order.lines, currency=order.currency)
        return await self.hand_in(command, writer, WRITING)

    async def hand_in(
        self, command: Command, writer: Caller, scopes: frozenset[str], order_id: str | None = None
    ) -> Response:
        wish = Wish(
            command=command,
            caller=writer,
            scopes=scopes,
            key=self.key,
            method=self.request.method,
            path=self.request.scope["path"],
            order_id=order_id,
            journey=self.journey,
        )
        accepted = await self.commands.accept(wish)
        return Response(
            OrderAccepted(id=accepted).model_dump_json(),
            status_code=202,
            headers={"Location": f"{ORDERS}/{accepted}", KEY_HEADER: self.key},
            media_type=JSON,
        )


async def desk(request: Request, key: Key = None, journey: Journey = None) -> Desk:
    """The request's desk, with the client's idempotency key or one that is made for it."""
    parts = await parts_of(request)
    return Desk(parts.commands, request, key or new_key(), journey)


def placing(parts: GatewayParts) -> Direct:
    """The direct way of `place_order`: for what FastAPI would find nothing wrong with."""

    async def place(request: Request, body: bytes) -> Response | None:
        keys = request.headers.getlist(KEY_HEADER)
        if any(SOUND_KEY.fullmatch(key) is None for key in keys) or len(keys) > 1:
            return None
        journey = request.headers.get(HEADER)
        if journey is not None and SOUND.fullmatch(journey) is None:
            return None
        if media_type(request) != JSON:
            return None
        try:
            order = NewOrder.model_validate(json.loads(body))
        except (ValueError, RecursionError):
            return None
        writer = admit(request, parts, WRITING)
        key = keys[0] if keys else new_key()
        return await Desk(parts.commands, request, key, journey).place(order, writer)

    return place


@router.post(
    ORDERS,
    operation_id="placeOrder",
    summary="Place an order",
    status_code=202,
    response_model=OrderAccepted,
    responses={**problems_of(*BODY, *COMMAND, problems.IDEMPOTENCY_KEY_REUSED), **ACCEPTED},
    dependencies=[Depends(takes(JSON))],
)
async def place_order(
    order: NewOrder, writer: Writer, desk: Annotated[Desk, Depends(desk)]
) -> Response:
    """Hand the order to the order service. It is placed once, or its refusal is told."""
    return await desk.place(order, writer)


@router.post(
    "/v1/orders/{order_id}/cancel",
    operation_id="cancelOrder",
    summary="Cancel an order",
    status_code=202,
    response_model=OrderAccepted,
    responses={
        **problems_of(*COMMAND, problems.INVALID_REQUEST, problems.IDEMPOTENCY_KEY_REUSED),
        **ACCEPTED,
    },
)
async def cancel_order(
    order_id: OrderPath, writer: Writer, desk: Annotated[Desk, Depends(desk)]
) -> Response:
    """Have one's own order cancelled; with `orders:write-all`, anyone's."""
    wanted = frozenset({scopes.ORDERS_WRITE, scopes.ORDERS_WRITE_ALL}) & writer.claims.scopes
    return await desk.hand_in(CancelOrder(order_id=order_id), writer, wanted, order_id)


@router.get(
    ORDERS,
    operation_id="listOrders",
    summary="List orders",
    responses={
        **answer(200, "A page of orders.", examples.ORDERS),
        **problems_of(*SCOPED, problems.INVALID_REQUEST, *RPC),
    },
)
async def list_orders(
    reader: Reader,
    parts: Parts,
    limit: Annotated[int, Query(ge=1, le=100, description="Orders on a page.")] = 20,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next` of the page before.")
    ] = None,
    everyone: Annotated[  # noqa: FBT002 - a query parameter has a name
        bool, Query(description="Everyone's, with `orders:read-all`.")
    ] = False,
) -> OrderPage:
    """One's own orders, the newest first, a page at a time."""
    if everyone and not reader.claims.principal.has(scopes.ORDERS_READ_ALL):
        raise lacking({scopes.ORDERS_READ_ALL})
    return await parts.rpc.call(
        ListOrders(limit=limit, cursor=cursor, everyone=everyone),
        responder=ORDER_SERVICE,
        deadline=parts.options.rpc_deadline,
        carnet=await _reading(parts, reader),
    )


@router.get(
    "/v1/orders/{order_id}",
    operation_id="getOrder",
    summary="Get an order",
    responses={
        **answer(200, "The order.", examples.ORDER),
        **problems_of(*SCOPED, problems.NOT_FOUND, problems.INVALID_REQUEST, *RPC),
    },
)
async def get_order(order_id: OrderPath, reader: Reader, parts: Parts) -> OrderView:
    """One order: one's own, or anyone's with `orders:read-all`. 404 until it is placed."""
    return await parts.rpc.call(
        GetOrder(order_id=order_id),
        responder=ORDER_SERVICE,
        deadline=parts.options.rpc_deadline,
        carnet=await _reading(parts, reader),
    )


async def _reading(parts: GatewayParts, reader: Caller) -> str:
    wanted = frozenset({scopes.ORDERS_READ, scopes.ORDERS_READ_ALL})
    return await parts.carnets.carnet(
        reader, audience=ORDER_SERVICE, scopes=wanted & reader.claims.scopes
    )
