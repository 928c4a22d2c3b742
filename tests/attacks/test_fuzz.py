"""A few thousand messages that nobody sealed; `make fuzz` sends a million."""

from pathlib import Path

from tests.attacks.field import Field
from tests.attacks.fuzz import Progress, judge_batch, send_batch


async def test_nothing_that_is_made_up_is_handled(field: Field) -> None:
    for start in range(0, 2000, 500):
        await send_batch(field, 1, range(start, start + 500))

    await field.still_places_orders()


def test_the_verifier_takes_nothing_that_is_made_up() -> None:
    judge_batch(2, range(5000))


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    Progress(1, 500).keep(path)

    assert Progress.read(path, 1).done == 500
    assert Progress.read(path, 2).done == 0
