"""What a running stack has told its services, so that an operator's command finds them.

run/<name>.json in the state folder, closed to everybody else since a login's password is in it,
and gone when the stack stops. `OPERATOR` is there by the same name. No passphrase is written.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from services.errors import StartError
from services.local.logins import OPERATOR
from services.settings import PREFIX

_SECRET: Final = frozenset({f"{PREFIX}KEY_PASSPHRASE", f"{PREFIX}ROOT_PASSPHRASE"})


def record(state: Path, name: str, environment: Mapping[str, str]) -> None:
    """Write down the settings in `environment`.

    Raises:
        OSError: the folder cannot be written.
    """
    settings = {
        key: value
        for key, value in environment.items()
        if key.startswith(PREFIX) and key not in _SECRET
    }
    file = _file(state, name)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as text:
        json.dump(settings, text, indent=1)
    draft.replace(file)  # whole or not at all


def forget(state: Path) -> None:
    """Nothing runs any more."""
    for file in (state / "run").glob("*.json"):
        file.unlink(missing_ok=True)


def told_names(state: Path) -> list[str]:
    """All that were told something."""
    return sorted(file.stem for file in (state / "run").glob("*.json") if file.stem != OPERATOR)


def told(state: Path, name: str) -> dict[str, str] | None:
    """What it was told that runs, or ran when the stack was killed; None where it stopped.

    Raises:
        StartError: it cannot be read.
    """
    file = _file(state, name)
    try:
        settings: dict[str, str] = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StartError(f"{file}: cannot be read: {error}") from error
    return settings


def _file(state: Path, name: str) -> Path:
    return state / "run" / f"{name}.json"
