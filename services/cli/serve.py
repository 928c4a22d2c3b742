"""`carnet users|gateway|orders`: one service, in the foreground, set up by the environment."""

import importlib
from typing import NoReturn


def users() -> NoReturn:
    """Run the user service (the issuer). Settings: CARNET_… variables."""
    _run("users")


def gateway() -> NoReturn:
    """Run the HTTP gateway. Settings: CARNET_… variables."""
    _run("gateway")


def orders() -> NoReturn:
    """Run the order service. Settings: CARNET_… variables."""
    _run("orders")


def _run(service: str) -> NoReturn:
    # Imported when asked for: a service does not load the other two.
    main = importlib.import_module(f"services.{service}.__main__").main
    main()
    raise AssertionError("a service's main() exits by itself")
