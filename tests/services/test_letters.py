"""Dead letters as an operator picks and reads them; what lies there may be anything."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from auth.keyset import KeySet
from auth.message import AUTHORIZATION
from messaging.letters import Letter
from services.cli.letters import table_of
from services.contracts.topology import ORDERS_COMMANDS
from services.errors import StartError
from services.operations.letters import Filter, Fold, details_of, export_line, id_of
from services.operations.verdicts import Judge, place_of
from tests.auth.forge import ALICE, GATEWAY, MESSAGE_ID, NOW, Scene, command_scene

FAILED_AT = "2027-01-15T08:00:00Z"
"""`NOW`, as a note says it."""


def letter(scene: Scene | None = None, **notes: object) -> Letter:
    message = (scene or command_scene()).message()
    named = {f"carnet-{name.replace('_', '-')}": value for name, value in notes.items()}
    return Letter(
        body=message.body,
        type=message.type,
        content_type="application/json",
        headers={**message.headers, "carnet-failed-at": FAILED_AT, **named},
    )


FITS = {
    "its id": Filter(ids=frozenset({MESSAGE_ID, "another"})),
    "its reason": Filter(reasons=frozenset({"too_old"})),
    "its service": Filter(services=frozenset({GATEWAY})),
    "its user": Filter(users=frozenset({ALICE})),
    "a time before it": Filter(since=NOW),
    "a time after it": Filter(until=NOW + 1),
    "nothing": Filter(),
}
OTHERS = {
    "another id": Filter(ids=frozenset({"another"})),
    "another reason": Filter(reasons=frozenset({"poison"})),
    "another service": Filter(services=frozenset({"order-service"})),
    "another user": Filter(users=frozenset({GATEWAY})),
    "a time after it": Filter(since=NOW + 1),
    "its own time": Filter(until=NOW),
    "its reason and another user": Filter(
        reasons=frozenset({"too_old"}), users=frozenset({GATEWAY})
    ),
}


@pytest.mark.parametrize("what", FITS)
def test_a_filter_takes_a_letter_by(what: str) -> None:
    assert FITS[what].fits(letter(reason="too_old"))


@pytest.mark.parametrize("what", OTHERS)
def test_a_filter_leaves_a_letter_for(what: str) -> None:
    assert not OTHERS[what].fits(letter(reason="too_old"))


def test_a_letter_without_a_time_fits_no_time() -> None:
    timeless = letter(failed_at=7)

    assert not Filter(until=2**40).fits(timeless)
    assert not Filter(since=1).fits(timeless)


def test_copies_are_folded_and_tell_of_the_last() -> None:
    fold, copy = Fold(), letter(reason="too_old")
    headers = {"carnet-reason": "not_owner", "carnet-failed-at": "2027-01-15T08:00:05Z"}

    for each in (copy, replace(copy, headers={**copy.headers, **headers}), copy):
        fold.add(each)

    (line,) = fold
    assert (line.copies, line.reason, line.failed_at) == (3, "not_owner", NOW + 5)


def test_a_forged_letter_under_the_id_of_another_hides_nothing() -> None:
    fold, genuine = Fold(), letter()

    fold.add(genuine)
    fold.add(replace(genuine, body=b"forged"))

    assert [line.id for line in fold] == [MESSAGE_ID, MESSAGE_ID]


def test_a_letter_without_a_readable_seal_is_called_by_its_digest() -> None:
    unreadable = letter(seal="x")

    assert id_of(unreadable) == f"sha256:{unreadable.digest[:16]}"
    assert Filter(ids=frozenset({id_of(unreadable)})).fits(unreadable)


def test_nothing_that_is_shown_holds_a_token() -> None:
    token = str(letter().headers[AUTHORIZATION]).removeprefix("Bearer ")
    hostile = replace(letter(detail=f"saw {token}"), body=json.dumps({"note": token}).encode())

    for text in (json.dumps(details_of(hostile)), export_line(hostile)):
        assert token not in text
        assert token.rpartition(".")[0] not in text
        assert text.count("[token]") == 2


HOLDS_A_TOKEN: dict[str, Callable[[str], Letter]] = {
    "a body that is no text": lambda token: replace(letter(), body=b"\xff" + token.encode()),
    "its type": lambda token: replace(letter(), type=token),
    "its content type": lambda token: replace(letter(), content_type=token),
    "its reason": lambda token: letter(reason=token),
    "its queue": lambda token: letter(queue=token),
    "who refused it": lambda token: letter(service=token),
    "its seal": lambda token: letter(command_scene().with_seal(jti=token, more={token: [token]})),
}


@pytest.mark.parametrize("where", HOLDS_A_TOKEN)
def test_no_token_is_shown_wherever_it_stands(where: str) -> None:
    token = str(letter().headers[AUTHORIZATION]).removeprefix("Bearer ")

    hostile = HOLDS_A_TOKEN[where](token)
    details = details_of(hostile)

    body = base64.b64decode(details.get("body_base64", "")).decode("latin-1")
    told = json.dumps(details) + body
    assert token.rpartition(".")[0] not in told
    assert "[token]" in told


def test_no_token_is_shown_in_what_a_service_has_noted() -> None:
    token = str(letter().headers[AUTHORIZATION]).removeprefix("Bearer ")
    judge = Judge(place_of(ORDERS_COMMANDS.name), command_scene().key_set)

    steps = judge.steps(letter(reason="not_owner", detail=f"saw {token}"), now=NOW)

    assert steps[-1].detail == "not_owner: saw [token]"


def test_a_body_of_nothing_but_beginnings_of_tokens_is_read_at_once() -> None:
    beginnings = "eyJ" * 300_000

    began = time.process_time()
    details = details_of(replace(letter(), body=beginnings.encode()))

    assert details["body"] == beginnings
    assert time.process_time() - began < 2  # from each of them to the end: more than an hour


@pytest.mark.parametrize(
    "noted",
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59.999999+00:00",
    ],
)
def test_a_time_that_no_calendar_has_is_none(noted: str) -> None:
    fold = Fold()
    fold.add(letter(failed_at=noted))

    (line,) = fold
    assert line.as_json()["failed_at"] is None
    assert details_of(letter(failed_at=noted))["failed_at"] is None


def test_a_line_is_short_whatever_the_letter_says() -> None:
    fold = Fold()
    fold.add(letter(reason="x" * 10_000))

    (line,) = fold
    assert line.reason == "x" * 300 + "…"


def test_a_body_that_is_no_text_is_exported_as_base64() -> None:
    assert json.loads(export_line(replace(letter(), body=b"\xff")))["body_base64"] == "/w=="


def test_what_a_stranger_wrote_steers_no_terminal() -> None:
    fold = Fold()
    fold.add(letter(reason="\x1b[2Jred[bold]"))
    console = Console(record=True, width=200, force_terminal=True)

    with console.capture() as captured:
        console.print(table_of(list(fold)))

    assert "\x1b[2J" not in captured.get()
    assert "[bold]" in captured.get()


def _verdicts(scene: Scene, key_set: KeySet | None = None, **notes: Any) -> dict[str, str]:
    judge = Judge(place_of(ORDERS_COMMANDS.name), key_set or scene.key_set)
    steps = judge.steps(letter(scene, **notes), now=time.time())
    return {step.check: step.verdict for step in steps}


def test_the_check_that_refused_is_told_as_of_when_it_did() -> None:
    """Today every other check of time would refuse it as well."""
    verdicts = _verdicts(command_scene().with_seal(exp=NOW - 31, iat=NOW - 60), reason="too_old")

    assert verdicts["seal"] == "passed"
    assert verdicts["time"] == "refused"
    assert verdicts["revocation"] == verdicts["scope"] == "not reached"
    assert "handling" not in verdicts


def test_a_revocation_is_told_as_the_service_noted_it() -> None:
    verdicts = _verdicts(command_scene(), reason="revoked", detail="the session was ended")

    assert verdicts["time"] == "passed"
    assert verdicts["revocation"] == "refused"
    assert verdicts["scope"] == "not reached"


def test_a_revocation_that_nobody_noted_is_not_called_passed() -> None:
    assert _verdicts(command_scene(), reason="not_owner")["revocation"] == "not judged"


@pytest.mark.parametrize("reason", ["not_owner", "exhausted", "poison", "invalid_body"])
def test_what_passed_every_check_was_refused_by_its_handling(reason: str) -> None:
    verdicts = _verdicts(command_scene(), reason=reason)

    assert verdicts["scope"] == "passed"
    assert verdicts["handling"] == "refused"


def test_an_id_that_was_used_is_told_as_the_inbox_has_it() -> None:
    assert _verdicts(command_scene(), reason="id_reused")["inbox"] == "refused"


def test_a_letter_is_genuine_by_its_tokens_and_not_by_its_notes() -> None:
    scene = command_scene()
    judge = Judge(place_of(ORDERS_COMMANDS.name), scene.key_set)

    assert judge.genuine(letter(scene, reason="bad_signature"), now=NOW)
    assert judge.genuine(letter(scene), now=NOW + 48 * 3600)
    assert not judge.genuine(replace(letter(scene), body=b"x"), now=NOW)
    assert not judge.genuine(letter(scene, seal="x"), now=NOW)


def test_a_queue_that_nobody_knows_is_refused() -> None:
    with pytest.raises(StartError, match=ORDERS_COMMANDS.name):
        place_of("nobody.commands")
