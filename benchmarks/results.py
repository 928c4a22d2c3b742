"""The figures, as a flat file: name to number. A run adds its own and keeps the others."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

RESULTS: Final = Path(__file__).with_name("results.json")


def read(path: Path = RESULTS) -> dict[str, float]:
    """The figures so far; none where there is no file."""
    try:
        figures: dict[str, float] = json.loads(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return {}
    return figures


def record(figures: Mapping[str, float], path: Path = RESULTS) -> None:
    """Add or replace figures, rounded to four significant digits."""
    rounded = {name: float(f"{number:.4g}") for name, number in figures.items()}
    merged = dict(sorted((read(path) | rounded).items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{json.dumps(merged, indent=2)}\n", encoding="ascii")
