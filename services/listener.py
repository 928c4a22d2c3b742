"""The socket that a service listens on for HTTP."""

import socket
from typing import Final

from services.errors import PortTakenError

BACKLOG: Final = 2048


def listen(host: str, port: int, *, setting: str = "CARNET_PORT") -> socket.socket:
    """Bind; a `port` of 0 takes any that is free.

    setting: where the port stands, for who has to set another one.

    Raises:
        PortTakenError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTakenError(
            f"cannot listen on {host}:{port}: {error.strerror}; set {setting} to another port"
        ) from error
    listener.setblocking(False)
    return listener
