"""How long after a broker outage the whole system is at work again.

    python -m benchmarks.outage [SECONDS] [ROUNDS]

The broker is a private node, which is killed and started again after `SECONDS`. It counts as up
when it takes a login. From then on it is measured until the order consumer is ready, until the
gateway is, and until an order that was wanted at that moment is placed.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import httpx

from services.demo.client import ShopClient
from services.local.broker import OwnBroker
from services.local.definitions import generate_logins, stack_definitions
from services.local.errors import NoBrokerError
from services.local.installation import find_installation
from services.local.logins import OPERATOR
from services.local.node import PrivateNode
from services.local.stack import LocalStack
from services.logs import configure_logging

SECONDS: Final = 60.0
ROUNDS: Final = 1
AT_WORK: Final = 10.0
"""Seconds of work before the broker is killed. RabbitMQ 3.10, killed as it has just made a queue,
may bring it back without a leader: that costs 10 s, once (docs/decisions/0009)."""
START: Final = 180.0
PATIENCE: Final = 60.0
LOOK: Final = 0.02
TEA: Final = {
    "lines": [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}],
    "currency": "EUR",
}
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - of a throw-away account


async def until_ready(url: str) -> float:
    """When the service at `url` says that it does its work."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        await _succeeds(lambda: http.get("/health/ready"))
    return time.perf_counter()


async def until_placed(http: httpx.AsyncClient) -> float:
    """When an order is placed that somebody wants from now on."""
    accepted = await _succeeds(lambda: http.post("/v1/orders", json=TEA))
    await _succeeds(lambda: http.get(accepted.headers["location"]))
    return time.perf_counter()


async def _succeeds(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    while not (answer := await ask()).is_success:  # noqa: ASYNC110 - a service tells nobody
        await asyncio.sleep(LOOK)
    return answer


async def measure(seconds: float, rounds: int) -> None:
    """Measure and print."""
    installation = find_installation()
    if installation is None:
        raise NoBrokerError("rabbitmq-server is not installed: it is killed and started here")
    logins = generate_logins()
    with tempfile.TemporaryDirectory(prefix="carnet-bench-") as folder:
        state = Path(folder)
        node = PrivateNode(installation, state / "broker", stack_definitions(logins))
        await node.start(logins[OPERATOR], within=START)
        broker = OwnBroker(f"a private node of {installation}", node, logins)
        try:
            async with LocalStack(state / "stack", broker=broker) as stack:
                async with ShopClient(stack.gateway_url) as client:
                    await client.register("ada", PASSWORD)
                    token = (await client.sign_in("ada", PASSWORD)).access_token
                headers = {"Authorization": f"Bearer {token}"}
                async with httpx.AsyncClient(
                    base_url=stack.gateway_url, headers=headers, timeout=PATIENCE
                ) as http:
                    await until_placed(http)
                    print(f"broker away for {seconds:g} s; up again, after so many seconds:")
                    for _ in range(rounds):
                        await asyncio.sleep(AT_WORK)
                        await node.kill()
                        await asyncio.sleep(seconds)
                        await node.start(logins[OPERATOR], within=START)
                        up = time.perf_counter()
                        orders, gateway, placed = await asyncio.gather(
                            until_ready(stack.services["orders"].url),
                            until_ready(stack.gateway_url),
                            until_placed(http),
                        )
                        print(
                            f"  consuming {orders - up:5.2f}   gateway ready {gateway - up:5.2f}"
                            f"   an order placed {placed - up:5.2f}"
                        )
        finally:
            await node.kill()


def main() -> None:
    """Measure and print."""
    configure_logging(service="bench", log_format="console", level="error")
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    asyncio.run(measure(seconds, int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS))


if __name__ == "__main__":
    main()
