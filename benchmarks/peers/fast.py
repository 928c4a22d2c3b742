"""FastStream's consumer, with a pydantic model; with `jwk` among the options, and PyJWT.

Subscriber and queue: https://faststream.ag2.ai/latest/rabbit/examples/direct/; prefetch, of which
all is handled at once: https://faststream.ag2.ai/latest/rabbit/prefetch/ (`Channel`); the token in
a middleware's `consume_scope`: https://faststream.ag2.ai/latest/getting-started/middlewares/. The
line that it logs for each message is switched off (`logger=None`), and so is what only RPC needs
(`no_reply`: https://faststream.ag2.ai/latest/rabbit/rpc/).
"""

from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from faststream import BaseMiddleware, FastStream
from faststream.message import StreamMessage
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from benchmarks.contender import PREFETCH, Job, Meter
from benchmarks.peers.bearer import TokenCheck
from services.contracts.orders import PlaceOrder


def token_middleware(check: TokenCheck) -> type[BaseMiddleware]:
    class Token(BaseMiddleware):
        async def consume_scope(
            self,
            call_next: Callable[[StreamMessage[Any]], Awaitable[Any]],
            msg: StreamMessage[Any],
        ) -> Any:
            check(msg.headers["authorization"])
            return await call_next(msg)

    return Token


async def main(job: Job) -> None:
    meter = Meter(job.count)
    jwk = job.options.get("jwk")
    broker = RabbitBroker(
        job.url,
        default_channel=Channel(prefetch_count=PREFETCH),
        middlewares=[token_middleware(TokenCheck(jwk))] if jwk else [],
        logger=None,
    )
    app = FastStream(broker, logger=None)

    @broker.subscriber(RabbitQueue(job.queue, declare=False), no_reply=True)
    async def place_order(order: PlaceOrder) -> None:
        del order
        if meter.tick():
            meter.end()
            app.exit()

    await app.run()
    meter.report()


if __name__ == "__main__":
    uvloop.run(main(Job.read()))
