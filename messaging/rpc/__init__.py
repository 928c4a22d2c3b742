"""RPC over the broker: many in flight, each with a deadline, sealed both ways, answered once.

A request carries its deadline twice: as its time to live, after which the broker drops it, and
under its seal, after which (and the leeway between clocks) nobody starts on it. Its reply goes to
the caller's own queue and is believed only from the service that was called, for the request that
was sent.
"""

from messaging.rpc.caller import Caller
from messaging.rpc.client import RpcClient
from messaging.rpc.errors import (
    UNAVAILABLE,
    NoRecipientKeyError,
    Refused,
    RpcError,
    RpcRefusedError,
    RpcTimeoutError,
    RpcUnavailableError,
)
from messaging.rpc.parts import RpcParts
from messaging.rpc.server import RpcServer

__all__ = [
    "UNAVAILABLE",
    "Caller",
    "NoRecipientKeyError",
    "Refused",
    "RpcClient",
    "RpcError",
    "RpcParts",
    "RpcRefusedError",
    "RpcServer",
    "RpcTimeoutError",
    "RpcUnavailableError",
]
