"""What `carnet new service` writes works as it is: its own tests pass, on a whole system."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.new import names, write


@pytest.mark.timeout(300)
def test_the_tests_of_a_new_service_pass(tmp_path: Path) -> None:
    write(tmp_path / "stock_keeper", names("stock-keeper", "stock_keeper"))

    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:schemathesis", "stock_keeper"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith("CARNET_")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout
