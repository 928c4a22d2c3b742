"""Headers are read once for the same bytes, and give the same each time."""

import json

import pytest

from auth.errors import Code, MalformedTokenError, RefusalError
from auth.strict import (
    _HEADERS,
    _LONGEST_KEPT_HEADER,
    CompactToken,
    UnverifiedToken,
    _kept_header,
    parse_header,
    parse_token,
)
from tests.auth.forge import (
    access_token,
    carnet,
    command_scene,
    judge_access_token,
    parties,
    release,
)

GOOD = {"alg": "ES256", "kid": "a-key", "typ": "carnet+jwt"}


def _parse(header: bytes) -> UnverifiedToken:
    return parse_header(CompactToken(header, b"{}", b"", b""))


def _of_length(length: int) -> bytes:
    bare = json.dumps({**GOOD, "kid": ""}).encode()
    return bare.replace(b'"kid": ""', b'"kid": "%s"' % (b"k" * (length - len(bare))))


def test_the_same_bytes_are_read_once() -> None:
    header = json.dumps(GOOD).encode()

    assert _parse(header).unverified_header is _parse(bytes(bytearray(header))).unverified_header
    assert _parse(header).unverified_header == GOOD


def test_other_bytes_that_say_the_same_are_read_by_themselves() -> None:
    close = _parse(json.dumps(GOOD).encode()).unverified_header
    spaced = _parse(json.dumps(GOOD, indent=1).encode()).unverified_header

    assert spaced == close
    assert spaced is not close


@pytest.mark.parametrize("member", ["alg", "kid", "typ"])
def test_a_header_that_differs_in_one_member_is_another(member: str) -> None:
    other = {**GOOD, member: GOOD[member] + "x"}

    assert _parse(json.dumps(GOOD).encode()).unverified_header == GOOD
    assert _parse(json.dumps(other).encode()).unverified_header == other


def test_nobody_changes_what_others_read() -> None:
    header = parse_token(carnet().text).unverified_header

    with pytest.raises(TypeError):
        header["alg"] = "none"  # type: ignore[index]
    with pytest.raises(TypeError):
        del header["kid"]  # type: ignore[attr-defined]
    assert parse_token(carnet().text).unverified_header["alg"] == "ES256"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"{}", id="nothing in it"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b"\xff", id="no UTF-8"),
        pytest.param(b'{"alg":"ES256","alg":"none","kid":"k","typ":"t"}', id="a member twice"),
        pytest.param(b'{"alg":"ES256","kid":"k","typ":"t","jwk":{}}', id="a member more"),
        pytest.param(b'{"alg":"ES256","kid":7,"typ":"t"}', id="a number for a string"),
        pytest.param(b'{"alg":"ES256","kid":"k","typ":NaN}', id="NaN"),
        pytest.param(b"[" * 200, id="nested deep"),
        pytest.param(_of_length(300)[:-1], id="a long one without an end"),
    ],
)
def test_what_is_malformed_stays_so(header: bytes) -> None:
    """Between good ones, and however often it comes; and it takes no place."""
    _kept_header.cache_clear()
    _parse(json.dumps(GOOD).encode())

    for _ in range(3):
        with pytest.raises(MalformedTokenError) as refusal:
            _parse(header)
        assert refusal.value.code == Code.MALFORMED_HEADER
        assert _kept_header.cache_info().currsize == 1  # the good one
        assert _parse(json.dumps(GOOD).encode()).unverified_header == GOOD


def test_the_header_of_one_token_says_nothing_of_the_next() -> None:
    """Same header, other signature: a forgery between two genuine ones."""
    genuine = access_token()
    forged = genuine.with_key(parties().stranger).with_header(kid=genuine.key.kid)

    for _ in range(2):
        judge_access_token(genuine)
        with pytest.raises(RefusalError) as refusal:
            judge_access_token(forged)
        assert refusal.value.code == Code.BAD_SIGNATURE


def test_our_own_headers_are_kept() -> None:
    tokens = [access_token(), carnet(), release(), command_scene().seal]

    for token in tokens:
        first, second = (parse_token(token.text).unverified_header for _ in range(2))
        assert first is second


def test_a_long_header_is_read_each_time() -> None:
    """A statement's may have 192 KiB: of those, a stranger could fill the memory."""
    kept, long = _of_length(_LONGEST_KEPT_HEADER), _of_length(_LONGEST_KEPT_HEADER + 1)
    assert (len(kept), len(long)) == (256, 257)

    assert _parse(kept).unverified_header is _parse(kept).unverified_header
    assert _parse(long).unverified_header is not _parse(long).unverified_header
    assert _parse(long).unverified_header == _parse(long).unverified_header


def test_a_flood_of_headers_takes_no_more_than_the_places_that_there_are() -> None:
    for number in range(2 * _HEADERS):
        _parse(json.dumps({**GOOD, "kid": f"key-{number}"}).encode())

    assert _kept_header.cache_info().currsize == _HEADERS == 256
    judge_access_token(access_token())
