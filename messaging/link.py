"""One connection to the broker, kept up by a supervisor of our own.

The client library's own reconnecting (`connect_robust`) tries at a fixed interval, so that a
thousand clients return in the same instant, and silently leaves some consumers unregistered.
Here a lost connection is gone with all of its channels, and whoever used one notices.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from yarl import URL

from messaging.errors import (
    BrokerBlockedError,
    BrokerError,
    BrokerLoginError,
    BrokerTokenError,
    BrokerUnavailableError,
    BrokerUnreachableError,
    VirtualHostError,
)
from messaging.frame_reader import GuardedTransport
from messaging.login import TokenLogin, TokenSource
from messaging.nodes import address, in_random_order, parse_urls
from messaging.outlet import Outlet
from messaging.pause import Backoff
from messaging.taps import Taps

ATTEMPT: Final = 10.0
"""Seconds for one attempt to connect."""

DISCARD: Final = 3.0
"""Seconds to close a connection in."""

LONGEST_WAIT: Final = 2.0
"""Seconds between two attempts at most: full jitter makes it half of that on average, and a
broker that is up again is in use again within 5 s."""

log = structlog.get_logger(__name__)


class Link:
    """A connection that is up, or being brought up, from `start` to `close`."""

    def __init__(self, url: str, *, name: str) -> None:
        """`url`: of the broker, or of each node of its cluster (`messaging.nodes`)."""
        self._urls = parse_urls(url)
        self.node = ""
        """Host and port of the node that it is, or was last, connected to."""
        self._name = name
        self._connection: _GuardedConnection | None = None
        self.up = asyncio.Event()
        """Set while there is a connection."""
        self.lost = asyncio.Event()
        """The present connection is no more."""
        self._unblocked = asyncio.Event()
        self._unblocked.set()
        self._login: TokenLogin | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def vhost(self) -> str:
        """The virtual host, as the client library reads it from the URL."""
        return self._urls[0].path[1:].replace("%2F", "/") or "/"

    @property
    def connected(self) -> bool:
        return self.up.is_set()

    @property
    def blocked(self) -> bool:
        """Whether the broker has said that it takes no messages on this connection now.

        It says so only to a connection that publishes.
        """
        return not self._unblocked.is_set()

    @property
    def server(self) -> Mapping[str, Any]:
        """What the broker says of itself (`product`, `version`, …); nothing while not connected."""
        transport = None if self._connection is None else self._connection.transport
        return {} if transport is None else transport.connection.server_properties

    async def start(self, deadline: float, *, tokens: TokenSource | None = None) -> None:
        """Connect for the first time, within `deadline` seconds.

        tokens: what to log in with, from now on, in the place of the URL's password.

        Raises:
            BrokerUnreachableError: nobody answered in that time, though tried again.
            BrokerTokenError: likewise, but it was a token that we asked for.
            BrokerLoginError, VirtualHostError: another try would not help.
        """
        self._login = None if tokens is None else TokenLogin(tokens, name=self._name)
        end = asyncio.get_running_loop().time() + deadline
        backoff = Backoff()
        while True:
            left = end - asyncio.get_running_loop().time()
            try:
                await self._connect(min(left, ATTEMPT))
                break
            except (BrokerUnreachableError, BrokerTokenError):
                wait = backoff.next_wait()
                if wait >= end - asyncio.get_running_loop().time():
                    raise
                await asyncio.sleep(wait)
        self._supervisor = asyncio.create_task(self._supervise(), name=f"link {self._name}")

    async def close(self, deadline: float) -> None:
        """Stop the supervisor and close the connection, within `deadline` seconds."""
        self.up.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                if self._supervisor is not None:
                    self._supervisor.cancel()
                    await asyncio.wait({self._supervisor})
                await self._discard()

    async def wait_until_unblocked(self, deadline: float) -> None:
        """Wait until messages are taken here, at most `deadline` seconds.

        Raises:
            BrokerBlockedError: there is a connection, but the broker is short of memory or disk.
            BrokerUnavailableError: there is no connection.
        """
        try:
            async with asyncio.timeout(deadline):
                while not self.up.is_set() or self.blocked:
                    await self.up.wait()
                    await self._unblocked.wait()
        except TimeoutError as error:
            if self.up.is_set():
                raise BrokerBlockedError("the broker takes no messages at present") from error
            raise BrokerUnavailableError("there is no connection to the broker") from error

    async def channel(self, deadline: float) -> AbstractChannel:
        """Open a channel with confirms, waiting for the connection if there is none.

        Raises:
            BrokerUnavailableError: none within `deadline` seconds, or it broke meanwhile.
        """
        channel, _ = await self._open(deadline)
        return channel

    async def tapped_channel(self, deadline: float) -> tuple[AbstractChannel, Taps]:
        """Likewise, with the taps of the connection that it is on: to consume on."""
        channel, connection = await self._open(deadline)
        return channel, connection.taps

    async def outlet(self, deadline: float) -> Outlet:
        """Likewise, to publish on."""
        channel, connection = await self._open(deadline)
        underlay, writer = await channel.get_underlay_channel(), connection.factory.writer
        if writer is None:
            raise BrokerUnavailableError("the connection was closed")
        return Outlet(channel, underlay, writer, connection.taps)

    async def _open(self, deadline: float) -> tuple[AbstractChannel, "_GuardedConnection"]:
        with broker_faults():
            async with asyncio.timeout(deadline):
                await self.up.wait()
                connection = self._connection
                if connection is None:
                    raise BrokerUnavailableError("the connection was closed")
                channel = connection.channel(on_return_raises=False)
                await channel.initialize()
                return channel, connection

    async def _connect(self, deadline: float) -> None:
        """Connect to one node, whichever lets us in within its share of `deadline` seconds.

        Raises the refusal of a node, if one refused us, else the last node's error.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline
        password = None if self._login is None else await self._login.password(deadline)
        nodes = in_random_order(self._urls)
        failures: list[BrokerError] = []
        while nodes:
            url = nodes.pop()
            try:
                await self._connect_to(url, password, (end - loop.time()) / (len(nodes) + 1))
            except BrokerError as error:
                failures.append(error)
                if nodes:
                    log.warning("broker_node_failed", link=self._name, detail=error.detail)
            else:
                return
        raise next((e for e in failures if not isinstance(e, BrokerUnreachableError)), failures[-1])

    async def _connect_to(self, url: URL, token: str | None, deadline: float) -> None:
        if token is not None:
            # The login's name stands in the token; AMQP wants one beside it.
            url = url.with_user(url.user or "token").with_password(token)
        self._unblocked.set()
        connection = _GuardedConnection(url, self._name, self._set_blocked)
        lost = asyncio.Event()
        connection.close_callbacks.add(lambda *_: lost.set())
        try:
            with _connect_faults(url, token=token is not None):
                await connection.connect(timeout=deadline)
        except BaseException:
            await connection.close()
            raise
        self.lost = lost
        self._connection = connection
        self.node = address(url)
        self.up.set()
        log.info("broker_connected", link=self._name, broker=self.node)

    async def _supervise(self) -> None:
        """Connect again whenever the connection is lost, until cancelled by `close`."""
        backoff = Backoff(limit=LONGEST_WAIT)
        while True:
            await self._until_lost()
            if self.up.is_set():
                self.up.clear()
                self._unblocked.set()
                log.warning("broker_lost", link=self._name, broker=self.node)
                await self._discard()
            await asyncio.sleep(backoff.next_wait())
            try:
                await self._connect(ATTEMPT)
                backoff.reset()
            except BrokerError as error:
                log.warning("broker_connect_failed", link=self._name, detail=error.detail)

    def _set_blocked(self, blocked: bool) -> None:  # noqa: FBT001 - the reader's callback
        log.warning("broker_blocked" if blocked else "broker_unblocked", link=self._name)
        if blocked:
            self._unblocked.clear()
        else:
            self._unblocked.set()

    async def _until_lost(self) -> None:
        """Return when the connection is lost, or its login has expired."""
        ends: list[asyncio.Task[object]] = [asyncio.create_task(self.lost.wait())]
        if self._login is not None and self.up.is_set():
            ends.append(asyncio.create_task(self._login.keep(self._update_secret)))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        self.lost.set()

    async def _update_secret(self, token: str) -> None:
        with broker_faults():
            if self._connection is None:
                raise BrokerUnavailableError("the connection was closed")
            await self._connection.update_secret(token, reason="renewed in time")

    async def _discard(self) -> None:
        """Let go of a connection, so that the library leaves no task behind for it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(BrokerUnavailableError), broker_faults():
                async with asyncio.timeout(DISCARD):
                    await connection.close()


class _GuardedConnection(aio_pika.Connection):
    def __init__(self, url: URL, name: str, on_blocked: Callable[[bool], None]) -> None:
        super().__init__(url, client_properties={"connection_name": name})
        self.taps = Taps()
        self.factory = GuardedTransport(self.taps, on_blocked)
        self.kwargs["transport_factory"] = self.factory


@contextmanager
def broker_faults(*, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Whatever the client library raises when the connection breaks becomes one error.

    passing: what the caller wants to see as it is.

    Raises:
        BrokerUnavailableError: the connection is gone, or a deadline inside has passed.
    """
    try:
        yield
    except passing:
        raise
    except TimeoutError as error:
        raise BrokerUnavailableError("the broker does not answer in time") from error
    except asyncio.CancelledError as error:
        # The library cancels what waits on a channel that closes. That is no cancellation of
        # the task that waits, which would be counted here.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailableError("the connection broke") from error
    except CONNECTION_EXCEPTIONS as error:
        raise BrokerUnavailableError(f"the connection broke: {error}") from error
    except Exception as error:
        if type(error) is not Exception:
            raise
        # The library's own, for what waits on a channel whose connection ended without a reason.
        raise BrokerUnavailableError("the connection broke") from error


@contextmanager
def _connect_faults(url: URL, *, token: bool) -> Iterator[None]:
    """One clear line for each way in which connecting fails. Never names the password.

    token: whether it is a token.
    """
    try:
        yield
    except ProbableAuthenticationError as error:
        reason = "it does not take the token" if token else "wrong name or password"
        raise BrokerLoginError(
            f"the broker at {address(url)} refuses the login of {url.user!r}: {reason}"
        ) from error
    except InvalidFrameError as error:
        if "Connection.Close" not in str(error):
            raise BrokerUnreachableError(
                f"what answers at {address(url)} does not speak AMQP 0-9-1"
            ) from error
        raise VirtualHostError(
            f"the broker at {address(url)} refuses its virtual host {url.path[1:] or '/'!r} to"
            f" {url.user!r}: it does not exist, or this login has no access to it"
        ) from error
    except (Exception, asyncio.CancelledError) as error:
        # Whatever a peer makes the library raise: the supervisor goes on trying. The library
        # also cancels its own waiters, which is no cancellation of ours.
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
            raise
        raise BrokerUnreachableError(
            f"no RabbitMQ answers at {address(url)} ({str(error) or 'no answer in time'});"
            " is it running, and is the URL right?"
        ) from error
