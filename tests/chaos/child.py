"""A service's own process, with its clock and its death in the harness's hand.

    python -m tests.chaos.child orders

Everything else is the service as it is. What is wrapped is wrapped around the real functions, and
only here: the services know nothing of it.
"""

import functools
import importlib
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from tests.chaos.controls import VARIABLE, Controls, Point

Step = Callable[..., Coroutine[Any, Any, None]]

BEFORE_PUBLISH: Final = {
    "carnet.commands": Point.COMMAND_UNSENT,
    "carnet.reply": Point.REPLY_UNSENT,
}
"""By exchange: points just before a message leaves."""

AFTER_PUBLISH: Final = {
    "carnet.commands": Point.COMMAND_CONFIRMED,
    "carnet.events": Point.EVENT_CONFIRMED,
    "carnet.retry": Point.COPY_CONFIRMED,
    "carnet.dead": Point.COPY_CONFIRMED,
}
"""By exchange: points just after the broker has confirmed."""


def shift_clock(controls: Controls) -> None:
    """Let the wall clock go wrong; the monotonic one goes on, as when an operator sets the time."""
    true_time = time.time
    time.time = lambda: true_time() + controls.shift


def install(controls: Controls) -> None:
    """Wrap the functions between which a process may die."""
    from messaging.delivery import Registration  # noqa: PLC0415 - after the clock was taken over
    from messaging.publisher import Publisher  # noqa: PLC0415 - likewise
    from messaging.relay import OutboxRelay  # noqa: PLC0415 - likewise
    from services.contracts.topology import ORDERS_COMMANDS  # noqa: PLC0415 - likewise
    from services.orders.history import History  # noqa: PLC0415 - likewise

    publish_all = Publisher.publish_all  # whoever publishes does it with this

    @functools.wraps(publish_all)
    async def publishing(self: Publisher, envelopes: Any, **options: Any) -> Any:
        exchanges = {envelope.route.exchange for envelope in envelopes}
        for exchange in exchanges & BEFORE_PUBLISH.keys():
            controls.reach(BEFORE_PUBLISH[exchange])
        failures = await publish_all(self, envelopes, **options)
        confirmed = zip(envelopes, failures, strict=True)
        exchanges = {envelope.route.exchange for envelope, failed in confirmed if failed is None}
        for exchange in exchanges & AFTER_PUBLISH.keys():
            controls.reach(AFTER_PUBLISH[exchange])
        return failures

    Publisher.publish_all = publishing  # type: ignore[method-assign]
    wake = OutboxRelay.wake

    @functools.wraps(wake)
    def waking(self: OutboxRelay) -> None:
        controls.reach(Point.COMMIT_UNRELAYED)
        wake(self)

    OutboxRelay.wake = waking  # type: ignore[method-assign]
    acknowledge = Registration.ack

    @functools.wraps(acknowledge)
    async def acknowledging(self: Registration, deliveries: Any) -> None:
        if self.queue == ORDERS_COMMANDS.name:
            controls.reach(Point.EFFECT_UNACKNOWLEDGED)
        await acknowledge(self, deliveries)

    Registration.ack = acknowledging  # type: ignore[method-assign]
    History.record = _after(History.record, controls, Point.ORDER_UNCOMMITTED)  # type: ignore[method-assign]


def _after(step: Step, controls: Controls, point: Point) -> Step:
    @functools.wraps(step)
    async def wrapped(*arguments: Any, **options: Any) -> None:
        await step(*arguments, **options)
        controls.reach(point)

    return wrapped


def main() -> None:
    """Become the service that the command line names."""
    controls = Controls(Path(os.environ[VARIABLE]))
    shift_clock(controls)
    install(controls)
    importlib.import_module(f"services.{sys.argv[1]}.__main__").main()


if __name__ == "__main__":
    main()
