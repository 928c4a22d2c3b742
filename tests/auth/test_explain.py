"""An explanation is the verifier's own verdict, told check by check."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from auth.errors import CHECK_OF, Check, Code, RefusalError, TrustUnavailableError
from auth.explain import (
    ACCESS_TOKEN_CHECKS,
    COMMAND_CHECKS,
    CheckResult,
    decode_unverified,
    explain,
)
from tests.auth.forge import (
    ALICE,
    NOW,
    Scene,
    access_token,
    carnet,
    command_scene,
    judge_access_token,
    parties,
)


def _verdicts(results: list[CheckResult]) -> str:
    marks = {"passed": "+", "refused": "!", "not reached": "."}
    return "".join(marks[result.verdict] for result in results)


def test_every_check_of_a_genuine_command_passes() -> None:
    results = explain(command_scene().judge, COMMAND_CHECKS)

    assert _verdicts(results) == "+" * 12
    assert [result.check for result in results] == list(Check)[:12]
    assert {result.detail for result in results} == {""}


@pytest.mark.parametrize(
    ("change", "verdicts", "detail"),
    [
        pytest.param(
            lambda s: s.with_headers(authorization=7),
            "!...........",
            "missing_token: no header authorization that is a string",
            id="presence",
        ),
        pytest.param(
            lambda s: s.with_headers(carnet_seal="x"),
            "+!..........",
            "malformed_token: not three parts joined by dots",
            id="form",
        ),
        pytest.param(
            lambda s: replace(s, carnet=carnet().with_header(zip="DEF")),
            "++!.........",
            "malformed_header: header must have exactly the members alg, kid, typ",
            id="header",
        ),
        pytest.param(
            lambda s: replace(s, seal=s.seal.with_header(kid="x")),
            "++++!.......",
            "unknown_key: kid is not among this signer's keys",
            id="key",
        ),
        pytest.param(
            lambda s: replace(s, seal=replace(s.seal, write_payload=lambda _: "{")),
            "++++++!.....",
            None,
            id="claims",
        ),
        pytest.param(
            lambda s: replace(s, sent_body=b""),
            "++++++++!...",
            "seal_mismatch: sealed over another body",
            id="seal",
        ),
        pytest.param(
            lambda s: replace(s, now=NOW + 9999),
            "+++++++++!..",
            "too_old: the work has waited for too long",
            id="time",
        ),
        pytest.param(
            lambda s: s.with_carnet(scope="orders:read"),
            "+++++++++++!",
            "insufficient_scope: the carnet lacks: orders:write",
            id="scope",
        ),
    ],
)
def test_the_check_that_refuses_is_named(
    change: Callable[[Scene], Scene], verdicts: str, detail: str | None
) -> None:
    results = explain(change(command_scene()).judge, COMMAND_CHECKS)

    assert _verdicts(results) == verdicts
    if detail is not None:
        assert results[verdicts.index("!")].detail == detail


def test_no_check_is_said_to_have_passed_that_was_not_made() -> None:
    """A carnet whose header is refused says nothing of a seal that has not even a form."""
    scene = command_scene().with_headers(carnet_seal="no token")
    scene = replace(scene, carnet=carnet().with_header(zip="DEF"))

    assert _verdicts(explain(scene.judge, COMMAND_CHECKS)) == "+!.........."


def test_claims_that_nobody_signed_are_not_looked_at() -> None:
    """Whose key it is says `kid`; the payload is read when its signature holds."""
    forged = replace(
        command_scene().seal.with_key(parties().stranger), write_payload=lambda _: "not even JSON"
    )

    for seal, verdicts in (
        (forged, "++++!......."),
        (forged.with_header(kid=parties().gateway.kid), "+++++!......"),
    ):
        results = explain(replace(command_scene(), seal=seal).judge, COMMAND_CHECKS)
        assert _verdicts(results) == verdicts


def test_an_access_token_is_explained_without_the_checks_of_a_message() -> None:
    spoilt = access_token().but(aud="order-service")

    assert _verdicts(explain(lambda: judge_access_token(access_token()), ACCESS_TOKEN_CHECKS)) == (
        "+" * 10
    )
    assert _verdicts(explain(lambda: judge_access_token(spoilt), ACCESS_TOKEN_CHECKS)) == (
        "+++++++!.."
    )


def test_a_refusal_is_told_also_by_a_check_that_nobody_asked_about() -> None:
    """Else a refused token would be shown with nothing but checks that passed."""
    scene = command_scene().with_carnet(scope="orders:read")

    results = explain(scene.judge, ACCESS_TOKEN_CHECKS)

    assert (results[-1].check, results[-1].verdict) == (Check.SCOPE, "refused")
    assert _verdicts(results) == "+" * 10 + "!"


def test_what_cannot_be_judged_is_not_explained() -> None:
    with pytest.raises(TrustUnavailableError):
        explain(replace(command_scene(), now=NOW + 10**9).judge, COMMAND_CHECKS)


def test_every_check_asks_a_question_and_every_code_belongs_to_one() -> None:
    assert len({check.question for check in Check}) == len(Check)
    assert all(check.question.endswith("?") for check in Check)
    after_all_checks = {Code.INVALID_BODY, Code.EXHAUSTED, Code.POISON, Code.DISCARDED}
    assert set(CHECK_OF) == set(Code) - after_all_checks


def test_a_token_can_be_read_without_being_believed() -> None:
    forged = access_token().with_key(parties().stranger)

    decoded = decode_unverified(forged.text)

    assert decoded.unverified_header["kid"] == parties().stranger.kid
    assert decoded.unverified_claims["sub"] == ALICE
    with pytest.raises(RefusalError):
        decode_unverified("no token")
    with pytest.raises(ValueError, match="Expecting"):
        decode_unverified(replace(forged, write_payload=lambda _: "no JSON").text)
