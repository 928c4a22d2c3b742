"""What can keep the local stack from running; each one is a single line that says what to do."""

from pathlib import Path
from typing import ClassVar


class LocalError(Exception):
    """The local stack cannot run, or no longer. `code` is stable; the text is one line."""

    code: ClassVar[str] = "local_error"


class NoBrokerError(LocalError):
    """There is no broker here and none can be made."""

    code = "no_broker"


class NodeStartError(LocalError):
    """The private RabbitMQ node did not come up."""

    code = "node_start"


class BrokerLoginFailedError(LocalError):
    """A broker was named by the environment and does not take our login."""

    code = "broker_login"


class StateInUseError(LocalError):
    """Another stack runs on the same state folder."""

    code = "state_in_use"

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"another carnet runs on the state folder {folder}: stop it, or set CARNET_STATE "
            "to a folder of your own"
        )


class StateUnusableError(LocalError):
    """The state folder cannot be made or written."""

    code = "state_unusable"


class ServiceDiedError(LocalError):
    """A service of the stack ended by itself."""

    code = "service_died"


class NotReadyError(LocalError):
    """A service of the stack did not become ready in time."""

    code = "not_ready"


class PortTakenError(LocalError):
    """A port that was asked for is in use."""

    code = "port_taken"
