"""Whether a broker takes a login: the only proof that it is up, and that it is the one meant."""

import asyncio
from urllib.parse import urlsplit

import aio_pika
from aio_pika.exceptions import AMQPError


async def accepts(url: str, *, within: float) -> bool:
    """Log in at `url` (name, password and virtual host) once, and leave.

    An open port proves nothing: the broker may still boot, or be somebody else's.
    """
    try:
        # The client logs each refused connection as an error; waiting for one is none.
        async with asyncio.timeout(within):
            address = urlsplit(url)
            _, writer = await asyncio.open_connection(address.hostname, address.port or 5672)
        writer.close()
        connection = await aio_pika.connect(url, timeout=within)
    except (AMQPError, OSError, TimeoutError):
        return False
    await connection.close()
    return True
