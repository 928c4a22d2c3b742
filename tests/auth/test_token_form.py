"""Every token must have the one form that we accept, wherever it is given.

Each row spoils one thing of a genuine token; each is tried on an access token, a carnet and a
seal, signed by real keys. A row that can be signed is signed, so that nothing but the form is
wrong with it.
"""

import base64
import hashlib
import hmac
import json
import string
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth.errors import Code, RefusalError
from auth.jws import CLIENT_ASSERTION, KEY_SET
from auth.strict import MAX_TOKEN, decode_base64url, encode_base64url
from tests.auth.forge import (
    ABSENT,
    ALICE,
    GATEWAY,
    Token,
    access_token,
    carnet,
    command_scene,
    judge_access_token,
    parties,
)

Change = Callable[[Token], Token]

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _header(**members: object) -> Change:
    return lambda token: token.with_header(**members)


def _mangled(mangle: Callable[[str], str]) -> Change:
    return lambda token: replace(token, mangle=mangle)


def _part(index: int, change: Callable[[str], str]) -> Change:
    def mangle(text: str) -> str:
        parts = text.split(".")
        parts[index] = change(parts[index])
        return ".".join(parts)

    return _mangled(mangle)


def _signature(change: Callable[[bytes], bytes]) -> Change:
    return _part(2, lambda part: encode_base64url(change(decode_base64url(part))))


def _raw_header(write: Callable[[str], str | bytes]) -> Change:
    """A header written by hand from the JSON of the genuine one, under a signature that holds."""
    return lambda token: replace(token, write_header=write)


def _other_last_character(part: str) -> str:
    """Another text that a lax decoder takes for the same bytes: spare bits set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return part[:-1] + alphabet[alphabet.index(part[-1]) | 1]


def _der(signature: bytes) -> bytes:
    r, s = signature[:32], signature[32:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def _hmac_with_public_key(encoding: Encoding, format_: PublicFormat, ending: bytes = b"") -> Change:
    """HS256 with the public key as its secret: what a verifier that trusts `alg` accepts."""

    def change(token: Token) -> Token:
        secret = token.key.public._key.public_bytes(encoding, format_) + ending
        return _hmac(token, secret)

    return change


def _hmac_with_jwk(token: Token) -> Token:
    return _hmac(token, json.dumps(token.key.public.to_jwk()).encode())


def _hmac(token: Token, secret: bytes) -> Token:
    def mangle(text: str) -> str:
        signing_input = text.rpartition(".")[0]
        mac = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
        return f"{signing_input}.{encode_base64url(mac)}"

    return replace(token.with_header(alg="HS256"), mangle=mangle)


def _json_serialization(text: str) -> str:
    header, payload, signature = text.split(".")
    return json.dumps({"protected": header, "payload": payload, "signature": signature})


def _deep(document: str) -> str:
    return document[:-1] + ', "x": ' + "[" * 1000 + "]" * 1000 + "}"


ROWS = [
    # Compact form (RFC 7515 §3.1), canonical base64url (RFC 7515 §2, RFC 4648 §3.5)
    ("it is empty", _mangled(lambda _: ""), Code.MALFORMED_TOKEN),
    ("it is a dot", _mangled(lambda _: "."), Code.MALFORMED_TOKEN),
    ("it is two dots", _mangled(lambda _: ".."), Code.MALFORMED_TOKEN),
    ("it has one part", _mangled(lambda t: t.split(".")[0]), Code.MALFORMED_TOKEN),
    ("it has two parts", _mangled(lambda t: t.rpartition(".")[0]), Code.MALFORMED_TOKEN),
    ("it has four parts", _mangled(lambda t: t + ".AAAA"), Code.MALFORMED_TOKEN),
    ("a dot leads", _mangled(lambda t: "." + t), Code.MALFORMED_TOKEN),
    ("a dot trails", _mangled(lambda t: t + "."), Code.MALFORMED_TOKEN),
    ("a dot stands twice", _mangled(lambda t: t.replace(".", "..", 1)), Code.MALFORMED_TOKEN),
    ("the header is empty", _part(0, lambda _: ""), Code.MALFORMED_TOKEN),
    ("the payload is empty", _part(1, lambda _: ""), Code.MALFORMED_TOKEN),
    ("the signature is empty", _part(2, lambda _: ""), Code.MALFORMED_TOKEN),
    ("the signature is blank", _part(2, lambda _: " "), Code.MALFORMED_TOKEN),
    ("a blank leads", _mangled(lambda t: " " + t), Code.MALFORMED_TOKEN),
    ("a blank trails", _mangled(lambda t: t + " "), Code.MALFORMED_TOKEN),
    ("a line break trails", _mangled(lambda t: t + "\n"), Code.MALFORMED_TOKEN),
    ("a line break is in it", _part(1, lambda p: p[:9] + "\n" + p[9:]), Code.MALFORMED_TOKEN),
    ("a NUL is in it", _part(1, lambda p: p[:9] + "\0" + p[9:]), Code.MALFORMED_TOKEN),
    ("a lone surrogate is in it", _part(1, lambda p: p + "\ud800"), Code.MALFORMED_TOKEN),
    ("a homoglyph is in it", _part(1, lambda p: "\u0435" + p[1:]), Code.MALFORMED_TOKEN),
    ("the header is padded", _part(0, lambda p: p + "="), Code.MALFORMED_TOKEN),
    ("the signature is padded", _part(2, lambda p: p + "=="), Code.MALFORMED_TOKEN),
    ("its last bits are set", _part(2, _other_last_character), Code.MALFORMED_TOKEN),
    (
        "it is base64 with plus and slash",
        _part(2, lambda _: base64.b64encode(b"\xfb\xff" * 32).decode().rstrip("=")),
        Code.MALFORMED_TOKEN,
    ),
    ("its length is no base64", _part(2, lambda p: p + "AAA"), Code.MALFORMED_TOKEN),
    ("it is JSON", _mangled(_json_serialization), Code.MALFORMED_TOKEN),
    ("it is one character too long", _mangled(lambda t: t.ljust(4097, "A")), Code.OVERSIZED_TOKEN),
    ("it has 5 MB", _part(1, lambda p: p + "A" * 5_000_000), Code.OVERSIZED_TOKEN),
    # Header: strict JSON of exactly alg, kid, typ (RFC 8725 §3.1, §3.10)
    ("the header has a jwk", _header(jwk={"kty": "oct", "k": "AA"}), Code.MALFORMED_HEADER),
    ("the header has a jku", _header(jku="https://example.org/keys"), Code.MALFORMED_HEADER),
    ("the header has an x5u", _header(x5u="https://example.org/c"), Code.MALFORMED_HEADER),
    ("the header has an x5c", _header(x5c=["AAAA"]), Code.MALFORMED_HEADER),
    ("the header has crit", _header(crit=["exp"], exp=1), Code.MALFORMED_HEADER),
    ("the header has b64", _header(b64=False), Code.MALFORMED_HEADER),
    ("the header has zip", _header(zip="DEF"), Code.MALFORMED_HEADER),
    ("the header has cty", _header(cty="JWT"), Code.MALFORMED_HEADER),
    ("the header has a member of no name", _header(**{"": "x"}), Code.MALFORMED_HEADER),
    ("the header lacks alg", _header(alg=ABSENT), Code.MALFORMED_HEADER),
    ("the header lacks kid", _header(kid=ABSENT), Code.MALFORMED_HEADER),
    ("the header lacks typ", _header(typ=ABSENT), Code.MALFORMED_HEADER),
    ("alg is null", _header(alg=None), Code.MALFORMED_HEADER),
    ("alg is empty", _header(alg=""), Code.MALFORMED_HEADER),
    ("alg is a list", _header(alg=["ES256"]), Code.MALFORMED_HEADER),
    ("kid is a number", _header(kid=7), Code.MALFORMED_HEADER),
    ("kid is a list", _header(kid=["a"]), Code.MALFORMED_HEADER),
    ("kid is a table", _header(kid={"a": "b"}), Code.MALFORMED_HEADER),
    ("typ is true", _header(typ=True), Code.MALFORMED_HEADER),
    ("the header is a list", _raw_header(lambda h: f"[{h}]"), Code.MALFORMED_HEADER),
    ("the header is a string", _raw_header(json.dumps), Code.MALFORMED_HEADER),
    ("the header is null", _raw_header(lambda _: "null"), Code.MALFORMED_HEADER),
    ("the header is no JSON", _raw_header(lambda h: h[:-1]), Code.MALFORMED_HEADER),
    ("the header goes on", _raw_header(lambda h: h + "{}"), Code.MALFORMED_HEADER),
    ("the header has a comment", _raw_header(lambda h: h + "//"), Code.MALFORMED_HEADER),
    (
        "the header says alg twice",
        _raw_header(lambda h: '{"alg": "none", ' + h[1:]),
        Code.MALFORMED_HEADER,
    ),
    (
        "the header says alg twice, once in escapes",
        _raw_header(lambda h: '{"\\u0061lg": "none", ' + h[1:]),
        Code.MALFORMED_HEADER,
    ),
    (
        "the header has a byte order mark",
        _raw_header(lambda h: b"\xef\xbb\xbf" + h.encode()),
        Code.MALFORMED_HEADER,
    ),
    ("the header is UTF-16", _raw_header(lambda h: h.encode("utf-16")), Code.MALFORMED_HEADER),
    ("the header is Latin-1", _raw_header(lambda h: h.encode() + b"\xe9"), Code.MALFORMED_HEADER),
    (
        "the header has a raw surrogate",
        _raw_header(lambda h: h.replace("jwt", "\ud800").encode("utf-8", "surrogatepass")),
        Code.MALFORMED_HEADER,
    ),
    (
        "the header has an escaped surrogate",
        _raw_header(lambda h: h.replace("jwt", "\\ud800")),
        Code.MALFORMED_HEADER,
    ),
    (
        "the header has an escaped NUL",
        _raw_header(lambda h: h.replace("jwt", "jwt\\u0000")),
        Code.MALFORMED_HEADER,
    ),
    ("the header has NaN", _raw_header(lambda h: h[:-1] + ', "x": NaN}'), Code.MALFORMED_HEADER),
    ("the header is deeply nested", _raw_header(_deep), Code.MALFORMED_HEADER),
    # Type and algorithm (RFC 8725 §3.1, §3.11)
    ("alg is none", _header(alg="none"), Code.ALGORITHM_NOT_ALLOWED),
    ("alg is None", _header(alg="None"), Code.ALGORITHM_NOT_ALLOWED),
    ("alg is NONE", _header(alg="NONE"), Code.ALGORITHM_NOT_ALLOWED),
    ("alg is nOnE", _header(alg="nOnE"), Code.ALGORITHM_NOT_ALLOWED),
    ("alg is in lower case", _header(alg="es256"), Code.ALGORITHM_NOT_ALLOWED),
    ("alg has a blank", _header(alg="ES256 "), Code.ALGORITHM_NOT_ALLOWED),
    ("alg is PS256", _header(alg="PS256"), Code.ALGORITHM_NOT_ALLOWED),
    ("alg is ES512", _header(alg="ES512"), Code.ALGORITHM_NOT_ALLOWED),
    ("alg is ES256K", _header(alg="ES256K"), Code.ALGORITHM_NOT_ALLOWED),
    (
        "it is HS256 with the public key in PEM",
        _hmac_with_public_key(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        Code.ALGORITHM_NOT_ALLOWED,
    ),
    (
        "it is HS256 with the public key in PEM and a blank",
        _hmac_with_public_key(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo, b" "),
        Code.ALGORITHM_NOT_ALLOWED,
    ),
    (
        "it is HS256 with the public key in DER",
        _hmac_with_public_key(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        Code.ALGORITHM_NOT_ALLOWED,
    ),
    ("it is HS256 with the public JWK", _hmac_with_jwk, Code.ALGORITHM_NOT_ALLOWED),
    ("typ is JWT", _header(typ="JWT"), Code.WRONG_TYPE),
    ("typ is in upper case", lambda t: t.with_header(typ=t.typ.upper()), Code.WRONG_TYPE),
    (
        "typ has its long form",
        lambda t: t.with_header(typ=f"application/{t.typ}"),
        Code.WRONG_TYPE,
    ),
    ("it is a key set statement", _header(typ=KEY_SET), Code.WRONG_TYPE),
    ("it is a revocation", _header(typ="secevent+jwt"), Code.WRONG_TYPE),
    ("it is an id token", _header(typ="id+jwt"), Code.WRONG_TYPE),
    ("it is a client assertion", _header(typ=CLIENT_ASSERTION), Code.WRONG_TYPE),
    # Key
    ("kid is a path", _header(kid="../../../../dev/null"), Code.UNKNOWN_KEY),
    ("kid is SQL", _header(kid="x' UNION SELECT 'secret'--"), Code.UNKNOWN_KEY),
    ("kid is a command", _header(kid="| sleep 9"), Code.UNKNOWN_KEY),
    ("kid is a URL", _header(kid="https://example.org/keys/1"), Code.UNKNOWN_KEY),
    (
        "kid is in another case",
        lambda t: t.with_header(kid=t.key.kid.swapcase()),
        Code.UNKNOWN_KEY,
    ),
    ("kid is of 1 MB", _header(kid="A" * 1_000_000), Code.OVERSIZED_TOKEN),
    (
        "it is signed by a key that nobody lists",
        lambda t: t.with_key(parties().stranger),
        Code.UNKNOWN_KEY,
    ),
    (
        "it is signed by the trust root",
        lambda t: t.with_key(parties().root),
        Code.UNKNOWN_KEY,
    ),
    ("alg is that of another kind of key", _header(alg="RS256"), Code.KEY_MISMATCH),
    ("alg is EdDSA for an EC key", _header(alg="EdDSA"), Code.KEY_MISMATCH),
    # Signature (RFC 7518 §3.4, RFC 8725 §3.2)
    (
        "a stranger signed and named the listed key",
        lambda t: t.with_key(parties().stranger).with_header(kid=t.key.kid),
        Code.BAD_SIGNATURE,
    ),
    ("the signature is backwards", _signature(lambda s: s[::-1]), Code.BAD_SIGNATURE),
    (
        "the payload has a blank more",
        _part(1, lambda p: encode_base64url(decode_base64url(p) + b" ")),
        Code.BAD_SIGNATURE,
    ),
    (
        "the header has a blank more",
        _part(0, lambda p: encode_base64url(decode_base64url(p) + b" ")),
        Code.BAD_SIGNATURE,
    ),
    ("the signature is in DER", _signature(_der), Code.BAD_SIGNATURE),
    ("the signature is cut", _signature(lambda s: s[:63]), Code.BAD_SIGNATURE),
    ("the signature has a byte more", _signature(lambda s: s + b"\0"), Code.BAD_SIGNATURE),
    (
        "r and s have a zero before",
        _signature(lambda s: b"\0" + s[:32] + b"\0" + s[32:]),
        Code.BAD_SIGNATURE,
    ),
    ("r and s are 0", _signature(lambda _: bytes(64)), Code.BAD_SIGNATURE),
    ("r is 0", _signature(lambda s: bytes(32) + s[32:]), Code.BAD_SIGNATURE),
    ("s is 0", _signature(lambda s: s[:32] + bytes(32)), Code.BAD_SIGNATURE),
    (
        "r is the order of the curve",
        _signature(lambda s: _P256_ORDER.to_bytes(32, "big") + s[32:]),
        Code.BAD_SIGNATURE,
    ),
    (
        "s is the order of the curve",
        _signature(lambda s: s[:32] + _P256_ORDER.to_bytes(32, "big")),
        Code.BAD_SIGNATURE,
    ),
    ("r and s are the largest numbers", _signature(lambda _: b"\xff" * 64), Code.BAD_SIGNATURE),
    ("r and s are 1", _signature(lambda _: (bytes(31) + b"\1") * 2), Code.BAD_SIGNATURE),
]


rows = pytest.mark.parametrize(("change", "code"), [pytest.param(*r[1:], id=r[0]) for r in ROWS])


def test_the_genuine_ones_are_accepted() -> None:
    """Each row is a variation of these."""
    judged = command_scene().judge()

    assert judge_access_token(access_token()).sub == ALICE
    assert judged.carnet is not None
    assert (judged.carnet.sub, judged.seal.iss) == (ALICE, GATEWAY)


@rows
def test_an_access_token_is_refused_when(change: Change, code: Code) -> None:
    with pytest.raises(RefusalError) as refusal:
        judge_access_token(change(access_token()))

    assert refusal.value.code == code


@rows
def test_a_carnet_is_refused_when(change: Change, code: Code) -> None:
    scene = command_scene()

    with pytest.raises(RefusalError) as refusal:
        replace(scene, carnet=change(carnet())).judge()

    assert refusal.value.code == code
    assert refusal.value.authenticated is None


@rows
def test_a_seal_is_refused_when(change: Change, code: Code) -> None:
    scene = command_scene()

    with pytest.raises(RefusalError) as refusal:
        replace(scene, seal=change(scene.seal)).judge()

    assert refusal.value.code == code
    assert refusal.value.authenticated is None


def test_a_token_as_long_as_it_may_be_is_accepted() -> None:
    tokens = (access_token().but(note="x" * length).text for length in range(2500, 2900))
    longest = next(text for text in tokens if len(text) == MAX_TOKEN)

    assert judge_access_token(longest).sub == ALICE


def test_no_token_is_taken_for_one_of_another_kind() -> None:
    scene = command_scene()
    message = scene.message()
    genuine = {
        "access token": access_token().text,
        "carnet": str(message.headers["authorization"]).removeprefix("Bearer "),
        "seal": str(message.headers["carnet-seal"]),
        "key set statement": scene.key_set.statement,
    }
    places: dict[str, Callable[[str], object]] = {
        "access token": judge_access_token,
        "carnet": lambda text: scene.with_headers(authorization=f"Bearer {text}").judge(),
        "seal": lambda text: scene.with_headers(carnet_seal=text).judge(),
    }

    for place, judge in places.items():
        for kind, text in genuine.items():
            if kind != place:
                with pytest.raises(RefusalError) as refusal:
                    judge(text)
                assert refusal.value.code == Code.WRONG_TYPE, f"{kind} as {place}"


def test_the_issuers_key_seals_nothing_and_a_clients_key_issues_nothing() -> None:
    """Each signer's keys are looked up among its own."""
    who = parties()
    for scene in (
        replace(command_scene(), carnet=carnet().with_key(who.gateway)),
        replace(command_scene(), seal=command_scene().seal.with_key(who.issuer)),
    ):
        with pytest.raises(RefusalError) as refusal:
            scene.judge()
        assert refusal.value.code == Code.UNKNOWN_KEY

    with pytest.raises(RefusalError) as refusal:
        judge_access_token(access_token().with_key(who.gateway))
    assert refusal.value.code == Code.UNKNOWN_KEY


def test_no_refusal_quotes_the_token() -> None:
    scene = command_scene()
    for _, change, _ in ROWS:
        spoilt = replace(scene, carnet=change(carnet()))
        text = spoilt.carnet.text if spoilt.carnet else ""
        with pytest.raises(RefusalError) as refusal:
            spoilt.judge()
        said = f"{refusal.value} {refusal.value.__cause__}"
        assert not any(part in said for part in text.split(".") if len(part) > 4)


@pytest.mark.parametrize("place", range(6))
def test_base64url_has_64_characters_and_no_other(place: int) -> None:
    """The library's own check is of the standard alphabet, which has two others, and of padding."""
    alphabet = string.ascii_letters + string.digits + "-_"
    canonical = 6 * "A"
    for character in map(chr, range(256)):
        text = canonical[:place] + character + canonical[place + 1 :]
        if character in alphabet and (place < 5 or character in "AQgw"):
            padded = text.replace("-", "+").replace("_", "/") + "=="
            assert decode_base64url(text) == base64.b64decode(padded, validate=True)
            assert encode_base64url(decode_base64url(text)) == text
        else:
            with pytest.raises(ValueError, match="base64url"):
                decode_base64url(text)
