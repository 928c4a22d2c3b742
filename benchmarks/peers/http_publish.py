"""The gateway's own route, as most would write it with no trust at all: parse, publish, 202.

FastAPI: https://fastapi.tiangolo.com/tutorial/body/ and its lifespan
(https://fastapi.tiangolo.com/advanced/events/). aio-pika: one connection and channel, kept, with
confirms (https://docs.aio-pika.com/quick-start.html). uvicorn with uvloop and httptools, as it
takes by itself where they are installed; without an access log, as the gateway is.

Whatever stands in the Authorization header, nobody looks at it, and nothing keeps a repeat apart.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

import aio_pika
import uvicorn
from fastapi import FastAPI, Response

from benchmarks.contender import Job
from services.contracts.orders import PlaceOrder
from services.contracts.topology import PLACE_ORDER
from services.gateway.requests import NewOrder, OrderAccepted

JOB: Final = Job.read()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with await aio_pika.connect_robust(JOB.url) as connection:
        channel = await connection.channel()
        app.state.exchange = await channel.get_exchange(PLACE_ORDER.exchange)
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> str:
    return "ready"


@app.post("/v1/orders", status_code=202)
async def place_order(order: NewOrder, response: Response) -> OrderAccepted:
    order_id = str(uuid4())
    await app.state.exchange.publish(
        aio_pika.Message(
            PlaceOrder(lines=order.lines, currency=order.currency).to_body(),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=order_id,
            type=PLACE_ORDER.type,
        ),
        PLACE_ORDER.routing_key,
    )
    response.headers["Location"] = f"/v1/orders/{order_id}"
    return OrderAccepted(id=order_id)


if __name__ == "__main__":
    uvicorn.run(app, port=JOB.options["port"], access_log=False, log_level="warning")
