"""Every forgery that the verifier is shown, published to a running order service.

The tables are those of `tests/auth`: what is refused there by a call is refused here on the
broker, with the same code, nothing stored, no event but to the user of a genuine message, and
the next genuine order placed.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from auth.errors import RefusalError
from tests.attacks.field import Field, can_be_sent, fresh, verdict
from tests.auth.forge import Scene, Token, carnet, command_scene
from tests.auth.test_claims import PAYLOADS, TABLES
from tests.auth.test_commands import ROWS as COMMANDS
from tests.auth.test_token_form import ROWS as FORMS

Change = Callable[[Scene], Scene]


def _in_carnet(change: Callable[[Token], Token]) -> Change:
    return lambda scene: replace(scene, carnet=change(carnet()))


def _in_seal(change: Callable[[Token], Token]) -> Change:
    return lambda scene: replace(scene, seal=change(scene.seal))


def _claim(claim: str, value: object) -> Callable[[Token], Token]:
    return lambda token: token.but(**{claim: value})


PLACES: Final = {"carnet": _in_carnet, "seal": _in_seal}

BATCHES: Final[dict[str, dict[str, Change]]] = {
    **{
        f"{place} form": {name: spoil(change) for name, change, _ in FORMS}
        for place, spoil in PLACES.items()
    },
    **{
        f"{place} claims": {
            f"{claim} is {name}": spoil(_claim(claim, value))
            for kind, claim, values in TABLES
            if kind == place
            for name, value in values.items()
        }
        for place, spoil in PLACES.items()
    },
    **{
        f"{place} payload": {name: spoil(change) for name, change in PAYLOADS.items()}
        for place, spoil in PLACES.items()
    },
}
"""All under one key set and at one time: they are sent at once, as a flood."""

SINGLY: Final[dict[str, Change]] = {
    name: change for changes in COMMANDS.values() for name, change in changes.items()
}


def _sendable(changes: dict[str, Change]) -> dict[str, Change]:
    return {name: change for name, change in changes.items() if can_be_sent(change(GENUINE))}


GENUINE: Final = command_scene()


@pytest.mark.parametrize("batch", BATCHES)
async def test_a_flood_of_forgeries_is_refused_on_the_broker(field: Field, batch: str) -> None:
    scenes = {n: change(fresh(GENUINE)) for n, change in _sendable(BATCHES[batch]).items()}
    expected = {name: verdict(scene).code for name, scene in scenes.items()}
    before = await field.rows()

    for name, scene in scenes.items():
        await field.publish(scene.with_headers(carnet_note=name))
    letters = [await field.next_dead_letter() for _ in scenes]

    assert {d.headers["carnet-note"]: d.headers["carnet-reason"] for d in letters} == expected
    assert await field.rows() == before
    await field.still_places_orders()


@pytest.mark.parametrize("name", _sendable(SINGLY))
async def test_a_command_is_refused_on_the_broker_when(field: Field, name: str) -> None:
    scene = SINGLY[name](fresh(GENUINE))
    expected = verdict(scene)
    assert isinstance(expected, RefusalError)
    before = await field.rows()

    await field.publish(scene)

    assert await field.reason() == expected.code
    if expected.authenticated is None:
        assert await field.rows() == before
    else:
        assert (await field.next_event()).type == "orders.refused.v1"
        assert await field.orders() == before["orders"]
    await field.still_places_orders()


def test_what_cannot_be_sent_is_little_and_is_refused_by_the_verifier() -> None:
    """Headers over a frame, text that is no UTF-8, and rules that no handler here has."""
    for changes in (*BATCHES.values(), SINGLY):
        unsendable = [changes[name](GENUINE) for name in changes.keys() - _sendable(changes)]
        assert len(unsendable) < len(changes) / 8
        assert all(isinstance(verdict(scene), RefusalError) for scene in unsendable)
