"""Dead letters as an operator picks and reads them: filters, folded copies, and no raw token."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from auth.message import CARNET_RELEASE
from messaging.letters import Letter
from messaging.settlement import DETAIL, QUEUE, SERVICE

TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]{6,}+(?P<others>(?:\.[A-Za-z0-9_-]*+){2,4}+)?")
"""What looks like a compact JWS or JWE (RFC 7515 §3.1, RFC 7516 §3.1), if it has its other parts.

What begins like one is taken as a whole even so: a body of nothing but beginnings would otherwise
be gone through from each of them, for hours.
"""

HIDDEN: Final = "[token]"
LONGEST: Final = 300
"""Characters of one thing in a list. What stands in a letter may be anything, of any length."""

_SHOWN: Final = 16


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant: of all that is named, each must fit.

    ids: message ids, or `sha256:` and the beginning of a digest.   since, until: when it was set
    aside, in seconds since the epoch; a letter that does not say fits neither.
    search: part of id, type, user or reason, upper or lower case.
    """

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    since: float | None = None
    until: float | None = None
    search: str = ""

    @property
    def empty(self) -> bool:
        """Whether it lets every letter through."""
        return self == Filter()

    def fits(self, letter: Letter) -> bool:
        return (
            (not self.ids or id_of(letter) in self.ids)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.services or letter.client in self.services)
            and (not self.users or letter.subject in self.users)
            and (self.since is None or (letter.failed_at or 0) >= self.since)
            and (self.until is None or self._before_end(letter))
            and (not self.search or self._found_in(letter))
        )

    def _found_in(self, letter: Letter) -> bool:
        wanted = self.search.casefold()
        texts = (id_of(letter), letter.type, letter.subject, letter.reason)
        return any(wanted in text.casefold() for text in texts if text is not None)

    def _before_end(self, letter: Letter) -> bool:
        return letter.failed_at is not None and letter.failed_at < (self.until or 0)


@dataclass(slots=True)
class Line:
    """One letter in a list, with how many copies of it there are."""

    digest: str
    id: str
    reason: str
    service: str | None
    user: str | None
    type: str | None
    failed_at: float | None
    copies: int = 1

    @classmethod
    def of(cls, letter: Letter) -> "Line":
        return cls(
            digest=letter.digest,
            id=_brief(id_of(letter)),
            reason=_brief(letter.reason),
            service=None if letter.client is None else _brief(letter.client),
            user=None if letter.subject is None else _brief(letter.subject),
            type=None if letter.type is None else _brief(letter.type),
            failed_at=letter.failed_at,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "reason": self.reason,
            "service": self.service,
            "user": self.user,
            "type": self.type,
            "failed_at": time_of(self.failed_at),
            "copies": self.copies,
            "digest": self.digest,
        }


@dataclass(slots=True)
class Fold:
    """Letters with their copies folded into one: by what was sent, so a forged id hides nothing.

    The line tells of the copy that was set aside last.
    """

    _lines: dict[str, Line] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def add(self, letter: Letter) -> None:
        line = Line.of(letter)
        before = self._lines.get(line.digest)
        if before is None:
            self._lines[line.digest] = line
            return
        before.copies += 1
        if (line.failed_at or 0) >= (before.failed_at or 0):
            before.reason, before.failed_at = line.reason, line.failed_at


def id_of(letter: Letter) -> str:
    """What a letter is called: its message id, or a part of its digest where it has none."""
    return letter.message_id or f"sha256:{letter.digest[:_SHOWN]}"


def time_of(seconds: float | None) -> str | None:
    """As RFC 3339 has it; None for none, and for one that no calendar has."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return None


def details_of(letter: Letter) -> dict[str, Any]:
    """All that there is to know of a letter, without any token that could be used."""
    return {
        **Line.of(letter).as_json(),
        "detail": without_tokens(letter.note(DETAIL)),
        "queue": without_tokens(letter.note(QUEUE)),
        "refused_by": without_tokens(letter.note(SERVICE)),
        "content_type": without_tokens(letter.content_type),
        "carnet": _decoded(letter, letter.unverified_carnet),
        "seal": _decoded(letter, letter.unverified_seal),
        "release": _decoded(letter, letter.note(CARNET_RELEASE)),
        **_body(letter.body),
    }


def export_line(letter: Letter) -> str:
    """A letter as one line of JSON."""
    details = {name: value for name, value in details_of(letter).items() if name != "copies"}
    return json.dumps(details)


def _decoded(letter: Letter, unverified_token: str | None) -> dict[str, Any] | None:
    decoded = letter.decoded(unverified_token)
    if decoded is None:
        return None
    read = {"header": decoded.unverified_header, "claims": decoded.unverified_claims}
    shown: dict[str, Any] = without_tokens(read)
    return shown


def _body(body: bytes) -> dict[str, str | None]:
    """As text, where it is text; tokens that somebody may have put there are hidden."""
    try:
        return {"body": _hidden(body.decode("utf-8"))}
    except UnicodeDecodeError:
        told = _hidden(body.decode("latin-1")).encode("latin-1")  # each byte a character, and back
        return {"body_base64": base64.b64encode(told).decode("ascii")}


def without_tokens(value: Any) -> Any:
    """The same, with each token in a text of it hidden; claims are 16 deep at most."""
    if isinstance(value, str):
        return _hidden(value)
    if isinstance(value, dict):
        return {_hidden(name): without_tokens(inner) for name, inner in value.items()}
    return [without_tokens(inner) for inner in value] if isinstance(value, list) else value


def _brief(text: str) -> str:
    hidden = _hidden(text)
    return hidden if len(hidden) <= LONGEST else f"{hidden[:LONGEST]}…"


def _hidden(text: str) -> str:
    return TOKEN.sub(lambda found: found[0] if found["others"] is None else HIDDEN, text)
