"""What an RPC server runs on; a service's `__main__` makes it, a test makes others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from auth.encryption import DecryptionKey
from auth.seal import Sealer
from auth.trust import TrustSource
from auth.verifier import Verifier
from messaging.broker import Broker
from messaging.publisher import Publisher

PREFETCH: Final = 16
"""Few: of what waits in the queue, the broker drops in time what nobody wants any more."""

CONCURRENCY: Final = 100
DRAIN: Final = 20.0


@dataclass(frozen=True, slots=True)
class RpcParts:
    """The parts of an RPC server.

    decryption: our own key, for encrypted requests.   concurrency: handlers at once.
    drain: seconds for running handlers to finish at shutdown.
    """

    broker: Broker
    publisher: Publisher
    sealer: Sealer
    verifier: Verifier
    trust: TrustSource
    decryption: DecryptionKey | None
    clock: Callable[[], float]
    prefetch: int = PREFETCH
    concurrency: int = CONCURRENCY
    drain: float = DRAIN
