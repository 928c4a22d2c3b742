"""What keeps the local stack from running; each is one line that says what to do."""

from pathlib import Path

from services.errors import StartError


class LocalError(StartError):
    """The local stack cannot run, or no longer."""

    code = "local"


class NoBrokerError(LocalError):
    """There is no broker here and none can be made."""

    code = "no_broker"


class NodeStartError(LocalError):
    """The private RabbitMQ node, or its container, did not come up."""

    code = "node_start"


class NodeControlError(LocalError):
    """`rabbitmqctl` failed on the private node."""

    code = "node_control"


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

    def __init__(self, folder: Path, error: OSError) -> None:
        super().__init__(
            f"cannot write {error.filename or folder}: {error.strerror}; set CARNET_STATE to a "
            "folder that you own"
        )


class ServiceDiedError(LocalError):
    """A service of the stack ended by itself."""

    code = "service_died"


class NotReadyError(LocalError):
    """A service of the stack did not become ready in time."""

    code = "not_ready"
