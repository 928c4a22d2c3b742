"""Compares what was promised with what is there. It decides; `evidence` reads, `ledger` remembers.

Of each accepted request exactly one of these must be true, and nothing else may be:

    done       its effect is stored once, its inbox row says so, and its user was told once
    refused    its inbox row says so, its user was told, and the dead letter is kept
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from services.contracts.orders import (
    CancelOrder,
    OrderCancelled,
    OrderPlaced,
    OrderRefused,
    PlaceOrder,
)
from services.contracts.topology import GATEWAY
from services.gateway.idempotency import message_id_of
from tests.chaos.evidence import Evidence, InboxRow, StoredOrder, ToldEvent
from tests.chaos.ledger import Cancel, Ledger, Wish

Breach = Literal["lost", "twice", "unverified", "untold", "unkept", "unsettled"]
BREACHES: Final[dict[Breach, str]] = {
    "lost": "accepted, and nothing became of it",
    "twice": "done more than once",
    "unverified": "done for a message that nobody was let in with",
    "untold": "its user was not told, or not once",
    "unkept": "refused, and the dead letter is gone",
    "unsettled": "on its way for ever",
}

PLACED: Final = OrderPlaced.route.type
CANCELLED: Final = OrderCancelled.route.type
REFUSED: Final = OrderRefused.route.type
PLACE: Final = PlaceOrder.route.type
CANCEL: Final = CancelOrder.route.type


@dataclass(frozen=True)
class Finding:
    """One promise that was not kept."""

    breach: Breach
    what: str


@dataclass
class Verdict:
    """What the audit found, and the figures beside it."""

    findings: list[Finding] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    """Accepted requests that were refused later, by code: told and kept, each of them."""

    def count(self, breach: Breach) -> int:
        return sum(finding.breach == breach for finding in self.findings)


def audit(ledger: Ledger, evidence: Evidence) -> Verdict:
    """Judge a run that has ended."""
    return _Audit(ledger, evidence).verdict()


class _Audit:
    def __init__(self, ledger: Ledger, evidence: Evidence) -> None:
        self._ledger = ledger
        self._evidence = evidence
        self._orders: dict[str, list[StoredOrder]] = {}
        for order in evidence.orders:
            self._orders.setdefault(order.id, []).append(order)
        self._inbox: dict[str, list[InboxRow]] = {}
        for row in evidence.inbox:
            if row.iss == GATEWAY:
                self._inbox.setdefault(row.jti, []).append(row)
        self._told: dict[tuple[str, str, str], list[ToldEvent]] = {}
        for event in evidence.history:
            key = (event.order_id, event.type, event.command if event.type == REFUSED else "")
            self._told.setdefault(key, []).append(event)
        self._dead = Counter(letter.message_id for letter in evidence.dead)
        self._verdict = Verdict()

    def verdict(self) -> Verdict:
        for wish in self._ledger.wishes:
            self._judge_order(wish)
            if wish.cancel is not None:
                self._judge_cancel(wish, wish.cancel)
        self._judge_effects()
        self._judge_forgeries()
        self._judge_events()
        self._judge_streams()
        self._judge_rest()
        self._count()
        return self._verdict

    def _find(self, breach: Breach, what: str) -> None:
        self._verdict.findings.append(Finding(breach, what))

    def _judge_order(self, wish: Wish) -> None:
        order_id = message_id_of(GATEWAY, wish.subject, wish.key)
        name = f"order {wish.number} ({order_id})"
        if wish.accepted not in {None, order_id}:
            self._find("twice", f"{name} was accepted under another id, {wish.accepted}")
        stored = self._orders.get(order_id, [])
        if stored:
            return  # judged with all that is stored
        if self._is_refused(order_id):
            self._judge_refusal(name, order_id, order_id, PLACE, wish.subject)
        elif wish.accepted is not None:
            self._find("lost", f"{name}: 202, and neither an order nor a refusal")

    def _judge_cancel(self, wish: Wish, cancel: Cancel) -> None:
        message_id = message_id_of(GATEWAY, cancel.subject, cancel.key)
        order_id = message_id_of(GATEWAY, wish.subject, wish.key)
        name = f"cancel of order {wish.number} ({message_id})"
        if self._is_refused(message_id):
            self._judge_refusal(name, message_id, order_id, CANCEL, cancel.subject)
            return
        if not self._is_done(message_id):
            if cancel.accepted:
                self._find("lost", f"{name}: 202, and it is in no inbox")
            return
        states = [order.state for order in self._orders.get(order_id, [])]
        refused = self._told.get((order_id, REFUSED, CANCEL), [])
        if states != ["cancelled"] and not refused:
            self._find("lost", f"{name}: handled, and the order is {states}")
        if states == ["refused"] and len(refused) != 1:
            self._find("untold", f"{name}: told {len(refused)} times that it cannot be")

    def _judge_refusal(
        self, name: str, message_id: str, order_id: str, command: str, subject: str
    ) -> None:
        """A request that was refused by the consumer: told once, and kept."""
        told = [
            event
            for event in self._told.get((order_id, REFUSED, command), [])
            if event.subject == subject
        ]
        if len(told) != 1:
            self._find("untold", f"{name}: its refusal was told {len(told)} times")
        if not self._dead[message_id]:
            self._find("unkept", f"{name}: refused, and no dead letter says so")
        for row in self._inbox[message_id]:
            self._verdict.refusals[row.code or "?"] += 1

    def _judge_effects(self) -> None:
        """Every effect goes back to one request, let in once, and is what was asked for."""
        wishes = {message_id_of(GATEWAY, w.subject, w.key): w for w in self._ledger.wishes}
        for order_id, stored in self._orders.items():
            if len(stored) > 1:
                self._find("twice", f"order {order_id} is stored {len(stored)} times")
            if not self._is_done(order_id):
                self._find("unverified", f"order {order_id} is in no inbox")
            wish = wishes.get(order_id)
            order = stored[0]
            if wish is None:
                self._find("unverified", f"order {order_id} was asked for by nobody")
                continue
            self._judge_stored(wish, order)
        placed = Counter(sku for stored in self._evidence.orders for sku, _ in stored.lines)
        for sku, times in placed.items():
            if times > 1:
                self._find("twice", f"{sku} was ordered {times} times")

    def _judge_stored(self, wish: Wish, order: StoredOrder) -> None:
        name = f"order {wish.number} ({order.id})"
        if (order.subject, order.lines) != (wish.subject, ((wish.sku, 1),)):
            self._find("unverified", f"{name} is not what was asked for: {order}")
        if wish.told_no is not None:
            self._find("unverified", f"{name} was placed, though answered {wish.told_no}")
        placed = self._told.get((order.id, PLACED, ""), [])
        refused = self._told.get((order.id, REFUSED, PLACE), [])
        expected = (0, 1) if order.state == "refused" else (1, 0)
        if (len(placed), len(refused)) != expected:
            breach: Breach = "twice" if len(placed) > 1 else "untold"
            told = f"told {len(placed)} times, refused {len(refused)} times"
            self._find(breach, f"{name} is {order.state}: {told}")
        cancelled = self._told.get((order.id, CANCELLED, ""), [])
        if len(cancelled) > 1:
            self._find("twice", f"{name} was cancelled {len(cancelled)} times")
        elif len(cancelled) != (order.state == "cancelled"):
            self._find("untold", f"{name} is {order.state}, told {len(cancelled)} times")
        if order.state == "cancelled":
            cancel = wish.cancel
            if cancel is None or not cancel.own:
                self._find("unverified", f"{name} was cancelled by nobody who may")
            elif not self._is_done(message_id_of(GATEWAY, cancel.subject, cancel.key)):
                self._find("unverified", f"{name} was cancelled by a message of no inbox")

    def _judge_forgeries(self) -> None:
        """None of them was let in, and each is a dead letter."""
        dead = Counter((d.seal, d.authorization, d.body) for d in self._evidence.dead)
        for forged in self._ledger.forged:
            if forged.confirmed and not dead[forged.triple]:
                self._find("unkept", f"no dead letter of a forged message: {forged.title}")

    def _judge_events(self) -> None:
        """What is in the history left through the broker, and nothing else did."""
        published = {_key(event) for event in self._evidence.published}
        history = {_key(event) for event in self._evidence.history}
        for subject, sequence, *_ in sorted(history - published):
            self._find("untold", f"event {sequence} of {subject} never left")
        for subject, sequence, *_ in sorted(published - history):
            self._find("unverified", f"event {sequence} of {subject} is in no history")
        numbers: dict[str, list[int]] = {}
        for event in self._evidence.history:
            numbers.setdefault(event.subject, []).append(event.sequence)
        for subject, counted in numbers.items():
            if sorted(counted) != list(range(1, len(counted) + 1)):
                self._find("untold", f"the events of {subject} are not counted without a gap")

    def _judge_streams(self) -> None:
        """Each listener heard the whole history, once and in order."""
        expected: dict[str, list[tuple[int, str, str]]] = {}
        for event in self._evidence.history:
            told = (event.sequence, event.type, event.order_id)
            expected.setdefault(event.subject, []).append(told)
        for subject, heard in self._ledger.streams.items():
            if heard != sorted(expected.get(subject, [])):
                count = len(expected.get(subject, []))
                self._find("untold", f"{subject} heard {len(heard)} of {count} events, or amiss")

    def _judge_rest(self) -> None:
        if self._evidence.outbox:
            self._find("unsettled", f"{self._evidence.outbox} events are still in the outbox")
        if self._evidence.queued:
            self._find("unsettled", f"{self._evidence.queued} commands are still in a queue")
        known = set(self._message_ids())
        forged = {forgery.triple for forgery in self._ledger.forged}
        for letter in self._evidence.dead:
            if (letter.seal, letter.authorization, letter.body) in forged:
                continue
            if letter.message_id not in known or not self._is_refused(letter.message_id):
                self._find(
                    "lost",
                    f"a dead letter of nobody's refusal: {letter.reason} {letter.message_id}",
                )

    def _count(self) -> None:
        figures = self._verdict.figures
        figures["orders asked for"] = len(self._ledger.wishes)
        figures["requests accepted"] = self._ledger.accepted
        figures["never answered"] = sum(
            wish.accepted is None and wish.told_no is None for wish in self._ledger.wishes
        )
        figures.update(f"orders {order.state}" for order in self._evidence.orders)
        figures["refused later, told and kept"] = self._verdict.refusals.total()
        figures["forged messages"] = sum(forged.confirmed for forged in self._ledger.forged)
        figures["messages sent again"] = self._ledger.duplicated
        figures["dead letters"] = len(self._evidence.dead)
        figures["events"] = len(self._evidence.history)
        figures["events published again"] = len(self._evidence.published) - len(
            {_key(event) for event in self._evidence.published}
        )

    def _message_ids(self) -> Iterator[str]:
        for wish in self._ledger.wishes:
            yield message_id_of(GATEWAY, wish.subject, wish.key)
            if wish.cancel is not None:
                yield message_id_of(GATEWAY, wish.cancel.subject, wish.cancel.key)

    def _is_done(self, message_id: str) -> bool:
        return any(row.outcome == "done" for row in self._inbox.get(message_id, []))

    def _is_refused(self, message_id: str) -> bool:
        return any(row.outcome == "refused" for row in self._inbox.get(message_id, []))


def _key(event: ToldEvent) -> tuple[str, int, str, str, str]:
    return event.subject, event.sequence, event.order_id, event.type, event.body
