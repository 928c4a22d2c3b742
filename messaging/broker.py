"""The broker as one process sees it: a connection to publish on, another to consume on."""

import asyncio
from functools import partial
from typing import Self

from messaging.link import Link
from messaging.login import TokenSource
from messaging.telemetry import Telemetry


class Broker:
    """Two supervised connections.

    They are two because the broker stops reading a connection that publishes while it is short
    of memory, and closes one that published to a missing exchange: neither may take the
    consumers with it.
    """

    def __init__(self, url: str, *, name: str, telemetry: Telemetry | None = None) -> None:
        """Nothing is connected before `start`.

        name: what the broker's operator sees, usually the client id.
        telemetry: where all that runs on it tells of itself; nobody asks unless one is given.

        Raises:
            BrokerUrlError: `url` is not one of a broker.
        """
        self.telemetry = telemetry or Telemetry()
        self.publishing = Link(url, name=f"{name} publishing")
        self.consuming = Link(url, name=f"{name} consuming")
        connected = self.telemetry.metrics.gauge(
            "carnet_broker_connected",
            "Whether a connection to the broker is up, and not blocked.",
            labels=("connection",),
        )
        for role, link in (("publishing", self.publishing), ("consuming", self.consuming)):
            connected.of(role).follow(partial(_usable, link))

    @property
    def vhost(self) -> str:
        """The virtual host of both connections."""
        return self.publishing.vhost

    @property
    def connected(self) -> bool:
        return self.publishing.connected and self.consuming.connected

    async def start(self, deadline: float, *, tokens: TokenSource | None = None) -> Self:
        """Connect within `deadline` seconds, and stay connected until `close`.

        tokens: what to log in with, renewed for as long as the connections last; without, it
            is the name and password of the URL.

        Raises:
            BrokerUnreachableError: nobody answers in that time.
            BrokerTokenError: nobody gives us a token in that time.
            BrokerLoginError, VirtualHostError: refused.
        """
        links = (self.publishing, self.consuming)
        results = await asyncio.gather(
            *(link.start(deadline, tokens=tokens) for link in links), return_exceptions=True
        )
        for error in results:
            if isinstance(error, BaseException):
                await self.close(deadline)
                raise error
        return self

    async def close(self, deadline: float) -> None:
        """Close both connections within `deadline` seconds."""
        await asyncio.gather(self.consuming.close(deadline), self.publishing.close(deadline))


def _usable(link: Link) -> float:
    return float(link.connected and not link.blocked)
