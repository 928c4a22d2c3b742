"""Whether a new version of the messages breaks whoever relies on an old one, and whom.

Judged is the AsyncAPI document. What a service takes (commands, requests) may only become wider;
what it tells (events, replies, statements) only narrower; seals and assertions, which clients write
and services read, may do neither.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.interface.subset import Obstacle, Subset, resolve

Document = Mapping[str, Any]

READ: Final = frozenset({"cmd", "req"})
"""Kinds of messages that the service takes whose contract it is; of all others it is the writer."""

BOTH_WAYS: Final = frozenset({"claims.seal", "claims.client-assertion"})
CLAIMS: Final = "claims."


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that somebody relied on.

    whom: client ids, or who else.   what: the type of message, or the object.   why: one line.
    """

    whom: tuple[str, ...]
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}; breaks {', '.join(self.whom) or 'nobody known'}"

    def as_json(self) -> dict[str, Any]:
        return {"what": self.what, "why": self.why, "breaks": list(self.whom)}


def breaks(old: Document, new: Document) -> list[Break]:
    """All that `new` breaks of what `old` promised."""
    return [
        *_messages(old, new),
        *_claims(old, new),
        *_topology(old["x-carnet-topology"], new["x-carnet-topology"]),
    ]


def _messages(old: Document, new: Document) -> Iterator[Break]:
    after = new["components"]["messages"]
    for name, message in old["components"]["messages"].items():
        everybody = _others(message["x-carnet"])
        if name not in after:
            yield Break(everybody, name, "the type is removed")
            continue
        yield from _rules(name, message, after[name])
        reads = message["x-carnet"]["kind"] in READ
        for part in ("payload", "headers"):
            if part in message and part in after[name]:
                pair = (message[part], after[name][part])
                for why in differences(old, new, *pair, reads=reads):
                    yield Break(everybody, name, why)


def _others(rules: Mapping[str, Any]) -> tuple[str, ...]:
    """Who is on the other side of the service whose message it is."""
    if rules["kind"] in READ:
        return tuple(rules["publishers"])
    unknown = ("whoever else listens",) if rules["kind"] == "evt" else ()
    return (*rules["receivers"], *unknown)


def _rules(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Break]:
    before, after = old["x-carnet"], new["x-carnet"]
    both = (*before["publishers"], *before["receivers"])
    for rule in ("kind", "exchange", "routing_key", "encrypted"):
        if before[rule] != after[rule]:
            yield Break(both, name, f"{_said(rule)} is {after[rule]}, was {before[rule]}")
    if old["contentType"] != new["contentType"]:
        yield Break(both, name, f"contentType is {new['contentType']}, was {old['contentType']}")
    senders = tuple(before["publishers"])
    for rule in ("publishers", "receivers"):
        for gone in sorted({*before[rule]} - {*after[rule]}):
            verb = "may send" if rule == "publishers" else "takes"
            whom = (gone,) if rule == "publishers" else senders
            yield Break(whom, name, f"{gone} {verb} it no more")
    if after["carnet"] != before["carnet"]:
        wanted = "a carnet is demanded" if after["carnet"] else "a carnet is refused"
        yield Break(senders, name, wanted)
    for scope in sorted({*after["scopes"]} - {*before["scopes"]}):
        yield Break(senders, name, f"the scope {scope} is demanded")
    if (before["carnet_judged"], after["carnet_judged"]) == ("at_acceptance", "at_processing"):
        yield Break(senders, name, "the carnet is judged at_processing, was at_acceptance")
    if before["max_age"] and after["max_age"] and after["max_age"] < before["max_age"]:
        yield Break(senders, name, f"max_age is {after['max_age']} s, was {before['max_age']} s")


def _said(rule: str) -> str:
    return rule.replace("_", " ")


def _claims(old: Document, new: Document) -> Iterator[Break]:
    before, after = old["components"]["schemas"], new["components"]["schemas"]
    for name, schema in before.items():
        if not name.startswith(CLAIMS) or name.count(".") > 1:
            continue  # another's part
        what = f"claims of the {name.removeprefix(CLAIMS)}"
        if name not in after:
            yield Break(("everybody",), what, "they are removed")
            continue
        typ = [each[name].get("x-carnet-token", {}).get("typ") for each in (before, after)]
        if typ[0] != typ[1]:
            yield Break(("everybody",), what, f"typ is {typ[1]}, was {typ[0]}")
        for reads in (True, False) if name in BOTH_WAYS else (False,):
            whom = "publishers" if reads else "relying parties"
            for why in differences(old, new, schema, after[name], reads=reads):
                yield Break((whom,), what, why)


def differences(
    old: Document, new: Document, before: Document, after: Document, *, reads: bool
) -> list[str]:
    """Lines on what the change of one schema breaks.

    reads: whether the service whose schema it is reads it; else it writes it.
    """
    narrow, wide = ((old, before), (new, after)) if reads else ((new, after), (old, before))
    found = Subset(narrow[0], wide[0]).obstacles(narrow[1], wide[1])
    lines = [_line(each, reads=reads) for each in found]
    removed = _removed((old, before), (new, after))
    return list(dict.fromkeys([f"{path} is removed" for path in removed] + lines))


def _removed(
    old: tuple[Document, Document], new: tuple[Document, Document], path: str = ""
) -> Iterator[str]:
    """Members that are known no more, where the schemas are open and so nothing else tells."""
    before, after = resolve(old[1], old[0]), resolve(new[1], new[0])
    there = after.get("properties", {})
    for name, schema in before.get("properties", {}).items():
        where = f"{path}.{name}" if path else name
        if name not in there:
            yield where
        elif isinstance(schema, Mapping) and isinstance(there[name], Mapping):
            yield from _removed((old[0], schema), (new[0], there[name]), where)
    if isinstance(before.get("items"), Mapping) and isinstance(after.get("items"), Mapping):
        yield from _removed((old[0], before["items"]), (new[0], after["items"]), f"{path}[]")


def _line(obstacle: Obstacle, *, reads: bool) -> str:
    """What has changed, in the order of time: narrow came first where it is read, and last else."""
    was, now = obstacle.wide, obstacle.narrow
    if reads:
        was, now = now, was
    path = obstacle.path or "the body"
    if obstacle.keyword == "required":
        return f"{path} is required now" if reads else f"{path} may be missing now"
    if obstacle.keyword == "additionalProperties" and not reads:
        return f"{path} is new, and readers of the old schema allow no other members"
    if obstacle.keyword == "additionalProperties":
        return f"{path} is not taken any more"
    return f"{path}: {obstacle.keyword} is {_shown(now)}, was {_shown(was)}"


def _shown(value: Any) -> str:
    if value is None:
        return "not said"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"  # noqa: PLR2004 - a line of a terminal


def _topology(old: Document, new: Document) -> Iterator[Break]:
    users = ("whoever publishes or consumes there",)
    for kind in ("exchanges", "queues"):
        one = kind.removesuffix("s")
        for name, said in old[kind].items():
            if name not in new[kind]:
                yield Break(users, f"{one} {name}", "it is removed")
            elif new[kind][name] != said:
                yield Break(
                    (*users, "a broker that holds it"),
                    f"{one} {name}",
                    f"it is declared as {_shown(new[kind][name])}, was {_shown(said)}",
                )
    for binding in old["bindings"]:
        if binding not in new["bindings"]:
            yield Break(users, f"binding {binding}", "it is removed, so what is sent goes nowhere")
