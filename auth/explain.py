"""Explains a verdict: which checks passed, which one refused and which were not reached.

It runs the verifier itself and reads its answer, so it can never tell another story.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from auth.errors import CHECK_OF, Check, RefusalError
from auth.strict import parse_json_object, parse_token

Verdict = Literal["passed", "refused", "not reached"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check's verdict; `detail` is the refusal's, empty otherwise."""

    check: Check
    verdict: Verdict
    detail: str = ""


def explain(verify: Callable[[], object], checks: tuple[Check, ...]) -> list[CheckResult]:
    """Run a verification and tell the verdict of each of `checks`, in order.

    A check that refuses is always told, also where it is none of `checks`.

    Raises:
        TrustUnavailableError: nothing can be judged now.
    """
    try:
        verify()
    except RefusalError as refusal:
        failed = CHECK_OF[refusal.code]
        told = checks if failed in checks else tuple(sorted((*checks, failed)))
        return [_against(refusal, check, failed) for check in told]
    return [CheckResult(check, "passed") for check in checks]


def _against(refusal: RefusalError, check: Check, failed: Check) -> CheckResult:
    if check == failed:
        return CheckResult(check, "refused", f"{refusal.code}: {refusal.detail}")
    return CheckResult(check, "passed" if check < failed else "not reached")


COMMAND_CHECKS = tuple(check for check in Check if check is not Check.INBOX)
"""What the verifier checks of a command; the inbox is the consumer's."""

ACCESS_TOKEN_CHECKS = tuple(
    check for check in COMMAND_CHECKS if check not in {Check.SEAL, Check.SCOPE}
)


@dataclass(frozen=True, slots=True)
class DecodedToken:
    """A token's parts, read and not believed."""

    unverified_header: dict[str, str]
    unverified_claims: dict[str, Any]


def decode_unverified(unverified_token: str) -> DecodedToken:
    """Read a token without judging it.

    Raises:
        RefusalError: it has not even the form of a token.
        ValueError: its payload is not strict JSON.
    """
    token = parse_token(unverified_token)
    return DecodedToken(dict(token.unverified_header), parse_json_object(token.unverified_payload))
