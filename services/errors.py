"""What keeps a service from starting; each is one line that says what to do."""

from typing import ClassVar


class StartError(Exception):
    """The service cannot start, or not go on. `code` is stable; the text is one line."""

    code: ClassVar[str] = "start"


class SettingsError(StartError):
    """A setting is missing or cannot be what it is."""

    code = "settings"


class PortTakenError(StartError):
    """The port is in use, or may not be opened."""

    code = "port_taken"


class StartCheckError(StartError):
    """A start-up check has found something in the way."""

    code = "start_check"
