"""The life of a service's process."""

import subprocess
import sys

SERVICE = """
import gc
from services.runtime import run_service
from services.settings import Settings

class Few(Settings):
    log_format: str = "json"
    log_level: str = "error"

async def serve(settings, shutdown):
    print(gc.get_freeze_count())

run_service("few", Few, serve)
"""


def test_what_a_service_has_imported_is_no_garbage() -> None:
    """A collection that looked at all of it would stop the service for 100 ms."""
    command = [sys.executable, "-c", SERVICE]
    said = subprocess.run(  # noqa: S603 - the program above
        command, capture_output=True, text=True, timeout=60, check=True
    ).stdout

    assert int(said) > 10_000
