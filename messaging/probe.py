"""Whether a broker takes a login: the only proof that it is up, and that it is the one meant."""

import asyncio
from urllib.parse import urlsplit

from messaging.errors import BrokerError
from messaging.link import Link


async def log_in(url: str, *, within: float) -> None:
    """Log in at `url` (name, password and virtual host), trying for `within` seconds; leave.

    Raises:
        BrokerUrlError: `url` is not one of a broker.
        BrokerUnreachableError: nobody answers in that time.
        BrokerLoginError, VirtualHostError: refused.
    """
    link = Link(url, name="probe")
    try:
        await link.start(within)
    finally:
        await link.close(within)


async def accepts(url: str, *, within: float) -> bool:
    """Whether a broker that may still be booting takes the login now.

    An open port proves nothing: it may be opened before logins exist, or by somebody else.
    """
    address = urlsplit(url)
    try:
        async with asyncio.timeout(within):
            # The client logs each refused connection as an error; waiting for one is none.
            _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.close()
        await log_in(url, within=within)
    except (BrokerError, OSError, TimeoutError):
        return False
    return True
