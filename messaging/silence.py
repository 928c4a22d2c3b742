"""Gives up a connection on which the broker is silent: it hangs, or the way to it is gone.

The client library waits for three heartbeats and more before it does. The operating system, which
knows a broker that died, knows nothing of one that only stopped: it goes on taking what we send.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

HEARTBEATS: Final = 2
"""So many in a row are missed before the peer counts as gone. A broker that has nothing to say
says so twice a heartbeat."""

LOOKS: Final = 4
"""So often is it looked for what was heard in that time: a stall of our own process, in which
nothing could be heard, is one of them and proves nothing."""

log = structlog.get_logger(__name__)


class Silence:
    """Watches one connection for as long as it is open."""

    def __init__(
        self, frames: Callable[[], int], writer: asyncio.StreamWriter, *, heartbeat: float
    ) -> None:
        """frames: how many have been read so far.   heartbeat: seconds; 0 where there is none."""
        self._frames = frames
        self._writer = writer
        self._every = heartbeat * HEARTBEATS / LOOKS
        self._seen = frames()
        self._silent_looks = 0

    def watch(self) -> None:
        """Begin to look; abort the connection once nothing was heard for too long."""
        if self._every > 0:
            asyncio.get_running_loop().call_later(self._every, self._look)

    def _look(self) -> None:
        if self._writer.is_closing():
            return
        heard = self._frames()
        self._silent_looks = 0 if heard > self._seen else self._silent_looks + 1
        self._seen = heard
        if self._silent_looks < LOOKS:
            self.watch()
            return
        log.warning("broker_silent", seconds=self._every * LOOKS)
        # Not `close`, which waits until the peer has taken what was sent.
        self._writer.transport.abort()
