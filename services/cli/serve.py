"""`carnet users|gateway|orders|console`: one process, in the foreground, set up by variables."""

import os
import sys
from typing import NoReturn


def users() -> NoReturn:
    """Run the user service (the issuer). Settings: CARNET_… variables.

    What it can be told says carnet config list users, and whether it could start
    carnet config check users.

    Examples:
      carnet users
      CARNET_LOG_FORMAT=console carnet users
    """
    _run("users")


def gateway() -> NoReturn:
    """Run the HTTP gateway. Settings: CARNET_… variables.

    What it can be told says carnet config list gateway, and whether it could start
    carnet config check gateway.

    Examples:
      carnet gateway
      CARNET_LOG_FORMAT=console carnet gateway
    """
    _run("gateway")


def orders() -> NoReturn:
    """Run the order service. Settings: CARNET_… variables.

    What it can be told says carnet config list orders, and whether it could start
    carnet config check orders.

    Examples:
      carnet orders
      CARNET_LOG_FORMAT=console carnet orders
    """
    _run("orders")


def console() -> NoReturn:
    """Run the operators' console. Settings: CARNET_… variables.

    What it can be told says carnet config list console, and whether it could start
    carnet config check console.

    Examples:
      carnet console
      CARNET_CONSOLE_WATCHES=orders=http://127.0.0.1:8003 carnet console
    """
    _run("console")


def _run(service: str) -> NoReturn:
    # In the place of this process, and without what only commands load: 5 MiB for as long as it
    # runs. -P: what lies in the working directory is not imported.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "services", service])  # noqa: S606 - no shell is wanted
