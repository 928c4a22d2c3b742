"""Installs RabbitMQ from the machine's packages, where we may."""

import os
import shutil
from pathlib import Path
from typing import Final

from services.local.command import run
from services.local.errors import NoBrokerError

SCRIPT: Final = Path(__file__).with_name("install_rabbitmq.sh")
INSTALL_WITHIN: Final = 600.0
ASK_WITHIN: Final = 10.0


async def may_install() -> bool:
    """Whether this is Debian or a child of it, and we are root or may be without a password."""
    if shutil.which("apt-get") is None:
        return False
    if os.geteuid() == 0:
        return True
    return (await run("sudo", "-n", "true", within=ASK_WITHIN)).succeeded


async def install_rabbitmq() -> None:
    """Install `rabbitmq-server` without starting it.

    Raises:
        NoBrokerError: the packages cannot be had.
    """
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    installed = await run(*as_root, "sh", str(SCRIPT), within=INSTALL_WITHIN)
    if not installed.succeeded:
        raise NoBrokerError(
            f"rabbitmq-server could not be installed: {installed.last_line}; install it, or "
            "set CARNET_AMQP_URL to a broker of yours"
        )
