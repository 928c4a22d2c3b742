"""The audit finds whatever is wrong with a run, and nothing with one that kept its promises."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from services.contracts.topology import GATEWAY
from services.gateway.idempotency import message_id_of
from tests.chaos.audit import CANCEL, CANCELLED, PLACE, PLACED, REFUSED, Breach, audit
from tests.chaos.evidence import DeadLetter, Evidence, InboxRow, StoredOrder, ToldEvent
from tests.chaos.ledger import Cancel, Forged, Ledger, Wish, to_json

ADA: Final = "ada"
BOB: Final = "bob"
KEYS: Final = ("placed", "cancelled", "too-dear", "too-old", "kept-from-bob")


def order_id(key: str, subject: str = ADA) -> str:
    return message_id_of(GATEWAY, subject, key)


PLACED_ID, CANCELLED_ID, DEAR_ID, OLD_ID, KEPT_ID = map(order_id, KEYS)
CANCEL_ID: Final = order_id("cancel")
BOBS_ID: Final = order_id("bobs", BOB)
FORGED: Final = Forged("moved", "seal_mismatch", "a.forged.seal", "Bearer x", "{}", confirmed=True)


def wish(number: int, key: str, cancel: Cancel | None = None) -> Wish:
    return Wish(number, ADA, key, f"o-{number}", "4.20", accepted=order_id(key), cancel=cancel)


def event(sequence: int, of: str, kind: str, command: str = "", subject: str = ADA) -> ToldEvent:
    body = json.dumps({"order_id": of, "sequence": sequence, "command": command})
    return ToldEvent(subject, sequence, of, kind, body)


def dead_letter(message_id: str, reason: str) -> DeadLetter:
    return DeadLetter(message_id, reason, f"seal of {message_id}", "Bearer x", "{}")


def stored(of: str, number: int, state: str) -> StoredOrder:
    refusal = "total_too_large" if state == "refused" else None
    return StoredOrder(of, ADA, state, refusal, ((f"o-{number}", 1),))


def run() -> tuple[Ledger, Evidence]:
    """A run in which one of each came to pass, and every promise was kept."""
    history = [
        event(1, PLACED_ID, PLACED),
        event(2, CANCELLED_ID, PLACED),
        event(3, CANCELLED_ID, CANCELLED),
        event(4, DEAR_ID, REFUSED, PLACE),
        event(5, OLD_ID, REFUSED, PLACE),
        event(6, KEPT_ID, PLACED),
        event(1, KEPT_ID, REFUSED, CANCEL, BOB),
    ]
    ledger = Ledger(
        wishes=[
            wish(0, "placed"),
            wish(1, "cancelled", Cancel(ADA, "cancel", own=True, accepted=True)),
            wish(2, "too-dear"),
            wish(3, "too-old"),
            wish(4, "kept-from-bob", Cancel(BOB, "bobs", own=False, accepted=True)),
        ],
        forged=[FORGED],
        streams={
            subject: [(e.sequence, e.type, e.order_id) for e in history if e.subject == subject]
            for subject in (ADA, BOB)
        },
    )
    done = [PLACED_ID, CANCELLED_ID, CANCEL_ID, DEAR_ID, KEPT_ID]
    evidence = Evidence(
        orders=[
            stored(PLACED_ID, 0, "placed"),
            stored(CANCELLED_ID, 1, "cancelled"),
            stored(DEAR_ID, 2, "refused"),
            stored(KEPT_ID, 4, "placed"),
        ],
        inbox=[
            *(InboxRow(GATEWAY, message_id, "done", None) for message_id in done),
            InboxRow(GATEWAY, OLD_ID, "refused", "too_old"),
            InboxRow(GATEWAY, BOBS_ID, "refused", "not_owner"),
        ],
        history=history,
        published=[*history, history[0]],
        dead=[
            dead_letter(OLD_ID, "too_old"),
            dead_letter(BOBS_ID, "not_owner"),
            DeadLetter("forged", "seal_mismatch", FORGED.seal, FORGED.authorization, FORGED.body),
        ],
    )
    return ledger, evidence


def test_a_run_that_kept_every_promise_has_no_findings() -> None:
    verdict = audit(*run())

    assert verdict.findings == []
    assert verdict.figures["requests accepted"] == 7
    assert verdict.figures["refused later, told and kept"] == 2
    assert verdict.refusals == {"too_old": 1, "not_owner": 1}


def test_what_was_never_accepted_need_not_be_there() -> None:
    ledger, evidence = run()
    ledger.wishes.append(Wish(5, ADA, "unknown", "o-5", "4.20"))

    assert audit(ledger, evidence).findings == []


Tampering = Callable[[Ledger, Evidence], object]

TAMPERED: Final[dict[str, tuple[Tampering, Breach]]] = {
    "an order's row is deleted": (lambda _, e: e.orders.pop(0), "lost"),
    "an order's and its inbox row are deleted": (
        lambda _, e: (e.orders.pop(0), e.inbox.pop(0)),
        "lost",
    ),
    "an order's row is there twice": (lambda _, e: e.orders.append(e.orders[0]), "twice"),
    "the same order has two ids": (
        lambda _, e: e.orders.append(replace(e.orders[0], id="another")),
        "twice",
    ),
    "an order's inbox row is removed": (lambda _, e: e.inbox.pop(0), "unverified"),
    "an inbox row is another client's": (
        lambda _, e: e.inbox.append(replace(e.inbox.pop(0), iss="mallory")),
        "unverified",
    ),
    "an order that nobody asked for": (
        lambda _, e: e.orders.append(replace(e.orders[0], id="x", lines=(("y", 1),))),
        "unverified",
    ),
    "a thousand instead of one": (
        lambda _, e: e.orders.append(replace(e.orders.pop(0), lines=(("o-0", 1000),))),
        "unverified",
    ),
    "an order is somebody else's": (
        lambda _, e: e.orders.append(replace(e.orders.pop(0), subject=BOB)),
        "unverified",
    ),
    "an order of somebody who was told no": (
        lambda ledger, _: setattr(ledger.wishes[0], "told_no", "403 insufficient_scope"),
        "unverified",
    ),
    "an order cancelled by who may not": (
        lambda _, e: e.orders.append(replace(e.orders.pop(3), state="cancelled")),
        "unverified",
    ),
    "a cancel that had no effect": (
        lambda _, e: e.orders.append(replace(e.orders.pop(1), state="placed")),
        "lost",
    ),
    "a cancel that is in no inbox": (lambda _, e: e.inbox.pop(2), "lost"),
    "an order is told twice": (
        lambda _, e: e.history.append(event(7, PLACED_ID, PLACED)),
        "twice",
    ),
    "a cancel is told twice": (
        lambda _, e: e.history.append(event(7, CANCELLED_ID, CANCELLED)),
        "twice",
    ),
    "an order is not told": (lambda _, e: e.history.pop(0), "untold"),
    "a refusal is not told": (lambda _, e: e.history.pop(4), "untold"),
    "a refusal is told to another": (
        lambda _, e: e.history.append(replace(e.history.pop(4), subject=BOB)),
        "untold",
    ),
    "a refusal's dead letter is gone": (lambda _, e: e.dead.pop(0), "unkept"),
    "a forged message's dead letter is gone": (lambda _, e: e.dead.pop(2), "unkept"),
    "a dead letter of a good order": (
        lambda _, e: e.dead.append(dead_letter(PLACED_ID, "exhausted")),
        "lost",
    ),
    "an event never left": (lambda _, e: (e.published.pop(0), e.published.pop(-1)), "untold"),
    "an event of no history": (
        lambda _, e: e.published.append(event(8, PLACED_ID, PLACED)),
        "unverified",
    ),
    "a listener missed an event": (lambda ledger, _: ledger.streams[ADA].pop(2), "untold"),
    "a listener heard an event twice": (
        lambda ledger, _: ledger.streams[ADA].append(ledger.streams[ADA][-1]),
        "untold",
    ),
    "an event is still in the outbox": (lambda _, e: setattr(e, "outbox", 1), "unsettled"),
    "a command is still in a queue": (lambda _, e: setattr(e, "queued", 1), "unsettled"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_tampered_result_is_found(case: str) -> None:
    tamper, breach = TAMPERED[case]
    ledger, evidence = run()

    tamper(ledger, evidence)

    assert breach in {finding.breach for finding in audit(ledger, evidence).findings}


def test_what_is_kept_of_a_run_can_be_read() -> None:
    ledger, evidence = run()
    ledger.answers["202"] += 7

    kept = json.loads(to_json(ledger))

    assert kept["answers"] == {"202": 7}
    assert kept["wishes"][1]["cancel"]["accepted"]
    assert len(json.loads(to_json(evidence))["orders"]) == len(evidence.orders)
