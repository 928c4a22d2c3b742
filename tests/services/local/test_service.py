"""A service of the stack as a process: it is ours that runs."""

from pathlib import Path

import pytest

from services.local.ports import LOOPBACK
from services.local.service import Service

WAIT = 30.0


async def test_nothing_that_lies_in_the_working_directory_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the stack is started. Ours ends at once, since it has no settings."""
    for package in ("services", "asyncio"):
        (tmp_path / package).mkdir()
        for module in ("__init__.py", "__main__.py"):
            (tmp_path / package / module).write_text("print('not ours')\n")
    service = Service("orders", tmp_path / "state", LOOPBACK, 0)
    service.log.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    child = await service.start({})

    assert await child.ended_within(WAIT)
    assert "CARNET_" in child.log.read_text()
    assert "not ours" not in child.log.read_text()
