"""What the broker says where an exchange or a queue is there and declared otherwise, for people."""

import re
from typing import Final

_REFUSAL: Final = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for .*?: received (?P<wanted>.+?) but current is "
    r"(?P<found>.+?)\"?$"
)


def difference(refusal: str) -> str:
    """The first difference; the broker's own words where they read otherwise."""
    said = _REFUSAL.search(refusal)
    if said is None:
        return refusal
    wanted, found = _value(said["wanted"]), _value(said["found"])
    has = "is missing" if found is None else f"is {found}"
    must = "must not be there" if wanted is None else f"must be {wanted}"
    return f"{said['argument']} {has} and {must}"


def _value(said: str) -> str | None:
    """`the value '20' of type 'signedint'`, `'topic'` or `none`."""
    quoted = re.search(r"'([^']*)'", said)
    return None if quoted is None else quoted[1]
