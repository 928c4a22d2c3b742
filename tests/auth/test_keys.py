"""A public key is taken in one form, for one purpose, and never when it is weak."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from auth.encryption import DecryptionKey, RecipientKey
from auth.errors import KeySetError
from auth.keys import Algorithm, SigningKey, VerificationKey
from auth.strict import decode_base64url, encode_base64url
from tests.auth.forge import ABSENT, changed, parties

ALGORITHMS: tuple[Algorithm, ...] = ("ES256", "RS256", "EdDSA")

ED25519_P = 2**255 - 19
ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
ORDER_8_NEGATED = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"


def _jwk(algorithm: Algorithm, **changes: object) -> dict[str, object]:
    """A genuine JWK with other members; without `kid`, which would follow them."""
    return changed({**parties(algorithm).issuer.public.to_jwk(), "kid": ABSENT}, **changes)


def _member(algorithm: Algorithm, name: str, change: Callable[[bytes], bytes]) -> dict[str, object]:
    genuine = str(_jwk(algorithm)[name])
    return _jwk(algorithm, **{name: encode_base64url(change(decode_base64url(genuine)))})


def _okp(x: bytes) -> dict[str, object]:
    return _jwk("EdDSA", x=encode_base64url(x))


def _little(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


def _rsa_key(**changes: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(**{"public_exponent": 65537, "key_size": 2048, **changes})


def _rsa(**changes: int) -> dict[str, object]:
    numbers = _rsa_key(**changes).public_key().public_numbers()
    return {
        "kty": "RSA",
        "n": encode_base64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
        "e": encode_base64url(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")),
    }


def _times(factor: int, n: bytes) -> bytes:
    return (int.from_bytes(n, "big") * factor).to_bytes(len(n) + 1, "big").lstrip(b"\0")


P256_P = 2**256 - 2**224 + 2**192 + 2**96 - 1

ROWS: dict[str, dict[str, object]] = {
    "is empty": {},
    "is a shared secret": {"kty": "oct", "k": "AAAA"},
    "is a shared secret that says RSA": _jwk("RS256", k="AAAA"),
    "is private": _jwk("ES256", d="AAAA"),
    "is a private RSA key": _jwk("RS256", p="AA", q="AA"),
    "has no kty": _jwk("ES256", kty=ABSENT),
    "has a list for a kty": _jwk("ES256", kty=["EC"]),
    "says RSA of an EC key": _jwk("ES256", kty="RSA"),
    "says RSA of an EC key without its curve": _jwk("ES256", kty="RSA", crv=ABSENT),
    "says P-384 of a P-256 key": _jwk("ES256", crv="P-384"),
    "says X25519": _jwk("EdDSA", crv="X25519"),
    "says Ed448": _jwk("EdDSA", crv="Ed448"),
    "says secp256k1": _jwk("ES256", crv="secp256k1"),
    "says a curve of RSA": _jwk("RS256", crv="P-256"),
    "lacks y": _jwk("ES256", y=ABSENT),
    "lacks e": _jwk("RS256", e=ABSENT),
    "has a number for x": _jwk("ES256", x=7),
    "has null for n": _jwk("RS256", n=None),
    "has a list for x": _jwk("EdDSA", x=["AA"]),
    "has padding": _jwk("EdDSA", x=str(_jwk("EdDSA")["x"]) + "="),
    "has a line break": _jwk("ES256", x=str(_jwk("ES256")["x"]) + "\n"),
    "is for encryption": _jwk("ES256", use="enc"),
    "is for nothing": _jwk("ES256", use=None),
    "may only sign": _jwk("ES256", key_ops=["sign"]),
    "may encrypt": _jwk("RS256", key_ops=["encrypt"]),
    "may verify and encrypt": _jwk("RS256", key_ops=["verify", "encrypt"]),
    "may verify twice": _jwk("RS256", key_ops=["verify", "verify"]),
    "may do nothing": _jwk("ES256", key_ops=[]),
    "has another alg": _jwk("RS256", alg="PS256"),
    "has a shared secret's alg": _jwk("ES256", alg="HS256"),
    "has alg none": _jwk("ES256", alg="none"),
    "has another kid": _jwk("ES256", kid=parties().gateway.kid),
    "has a number for a kid": _jwk("ES256", kid=7),
    "has an empty kid": _jwk("ES256", kid=""),
    "is not on its curve": _member("ES256", "y", lambda y: y[:-1] + bytes([y[-1] ^ 1])),
    "is the point at infinity": _jwk(
        "ES256", x=encode_base64url(bytes(32)), y=encode_base64url(bytes(32))
    ),
    "has a coordinate over the field": _jwk(
        "ES256", x=encode_base64url(P256_P.to_bytes(32, "big"))
    ),
    "has a zero before x": _member("ES256", "x", lambda x: b"\0" + x),
    "has a short x": _member("ES256", "x", lambda x: x[1:]),
    "has a zero before n": _member("RS256", "n", lambda n: b"\0" + n),
    "has a zero before e": _member("RS256", "e", lambda e: b"\0" + e),
    **{
        f"has an n that {factor} divides": _member("RS256", "n", partial(_times, factor))
        for factor in (2, 3, 5, 7, 11, 157)
    },
    "has e = 1": _jwk("RS256", e="AQ"),
    "has e = 3": _rsa(public_exponent=3),
    "has an e of a kilobyte": _jwk("RS256", e="A" * 1024),
    "has an empty n": _jwk("RS256", n=""),
    "is RSA of 1024 bits": _rsa(key_size=1024),
    "is RSA of 2047 bits": _member("RS256", "n", lambda n: bytes([n[0] & 0x3F]) + n[1:256]),
    "is Ed25519 of 31 bytes": _member("EdDSA", "x", lambda x: x[:31]),
    "is Ed25519 of 33 bytes": _member("EdDSA", "x", lambda x: x + b"\0"),
    **{
        f"is Ed25519 of small order ({name}, sign {sign})": _okp(_little(y, sign))
        for sign in (0, 1)
        for name, y in {
            "1": 1,
            "2": ED25519_P - 1,
            "4": 0,
            "8": int.from_bytes(bytes.fromhex(ORDER_8), "little"),
            "8, negated": int.from_bytes(bytes.fromhex(ORDER_8_NEGATED), "little"),
        }.items()
    },
    **{
        f"is Ed25519 and not canonical (p + {y}, sign {sign})": _okp(_little(ED25519_P + y, sign))
        for sign in (0, 1)
        for y in (0, 1, 18)
    },
}


@pytest.mark.parametrize("jwk", [pytest.param(jwk, id=name) for name, jwk in ROWS.items()])
def test_a_verification_key_is_refused_that(jwk: dict[str, object]) -> None:
    with pytest.raises(KeySetError):
        VerificationKey.from_jwk(jwk)


ROCA_N = (
    "AanFpofbj7KjD4Lf-N2hVMKR7yewSyXhhbirIMTGpfYEhZ_lnt5UoK98DnKIgArXGTu3MaW_HhFw16HGaTDUHqPrId7f"
    "e4r11CqRw09yBFuW79V8sYIwHdzCaWflUI6auImYbVfoN9_nD5n8N8SY9DwXw7mwZM9wREPXoDPgOoIWl6q_MPsp7n0z"
    "s3Z5ZaiQWOOzl1S9OhwAfSiiOwz6efnXEaxuTEtPd7BjSx7NaFka8Dx9U7YqXy2RFj1O9PjyaDGuRh7YXsX3iMUSP_wS"
    "yHQg_c_qHRtKUsNSGCT7OZg0hzm2KphtjnayKJvC64vAbROBR4Ubg6Bxg9IQVZ-QYyE"
)
"""From C2SP/wycheproof (Apache-2.0), jws_rsa_roca_key."""


def test_a_key_of_the_broken_generator_is_refused() -> None:
    """CVE-2017-15361: its private half can be computed from its public one."""
    with pytest.raises(KeySetError, match="CVE-2017-15361"):
        VerificationKey.from_jwk({"kty": "RSA", "e": "AQAB", "n": ROCA_N})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_is_named_by_its_thumbprint_and_survives_its_own_jwk(algorithm: Algorithm) -> None:
    public = parties(algorithm).issuer.public

    again = VerificationKey.from_jwk({**public.to_jwk(), "key_ops": ["verify"], "x5t": "ignored"})

    assert again == public
    assert (again.kid, again.algorithm) == (public.kid, algorithm)
    assert set(public.to_jwk()) <= {"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"}


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    """RFC 7638 §3.1."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"
        "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_"
        "FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI"
        "4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    key = VerificationKey.from_jwk({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256"})

    assert key.kid == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_holds_for_its_key_and_its_bytes_alone(algorithm: Algorithm) -> None:
    key, other = parties(algorithm).issuer, SigningKey.generate(algorithm)
    signature = key.sign(b"what was signed")

    assert key.algorithm == algorithm
    assert key.public.verify(b"what was signed", signature)
    assert not key.public.verify(b"what was not", signature)
    assert not other.public.verify(b"what was signed", signature)
    for spoilt in (
        b"",
        signature[:-1],
        signature + b"\0",
        b"\0" + signature,
        bytes(len(signature)),
    ):
        assert not key.public.verify(b"what was signed", spoilt)


def test_an_ed25519_signature_has_one_form() -> None:
    """RFC 8032 §5.1.7: s is under the order of the group, or the signature is another's."""
    key = parties("EdDSA").issuer
    signature = key.sign(b"what was signed")
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order

    assert not key.public.verify(b"what was signed", signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: ec.generate_private_key(ec.SECP384R1()), id="P-384"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP224R1()), id="P-224, which has no JWK"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP256K1()), id="secp256k1"),
        pytest.param(ed448.Ed448PrivateKey.generate, id="Ed448"),
        pytest.param(x25519.X25519PrivateKey.generate, id="X25519"),
        pytest.param(lambda: _rsa_key(key_size=1024), id="short RSA"),
        pytest.param(lambda: _rsa_key(public_exponent=3), id="RSA of exponent 3"),
    ],
)
def test_a_signing_key_is_refused_that_is(key: Callable[[], PrivateKeyTypes]) -> None:
    with pytest.raises(KeySetError):
        SigningKey(key())


def test_no_key_shows_its_private_half() -> None:
    signing, decryption = parties().issuer, parties().users_enc

    assert repr(signing) == f"SigningKey(kid={signing.kid!r}, algorithm='ES256')"
    assert repr(decryption) == f"DecryptionKey(kid={decryption.kid!r})"
    assert "_key" not in repr(signing.public)


def _enc(**changes: object) -> dict[str, object]:
    return changed({**parties().users_enc.public.to_jwk(), "kid": ABSENT}, **changes)


@pytest.mark.parametrize(
    "jwk",
    [
        pytest.param({}, id="is empty"),
        pytest.param(_jwk("RS256", use="enc", alg=ABSENT), id="is RSA"),
        pytest.param(_jwk("EdDSA", use="enc", alg=ABSENT), id="is Ed25519"),
        pytest.param(_enc(crv="P-384"), id="is of another curve"),
        pytest.param(_enc(d="AAAA"), id="is private"),
        pytest.param(_enc(k="AAAA"), id="is a secret"),
        pytest.param(_enc(use="sig"), id="is for signatures"),
        pytest.param(_enc(use=None), id="is for nothing"),
        pytest.param(_enc(alg="ECDH-ES+A256KW"), id="has another alg"),
        pytest.param(_enc(key_ops=["verify"]), id="may verify"),
        pytest.param(_enc(key_ops=["deriveKey"]), id="may derive"),
        pytest.param(_enc(kid="another"), id="has another kid"),
        pytest.param(_enc(x=ABSENT), id="lacks x"),
        pytest.param(_enc(x=7), id="has a number for x"),
        pytest.param(_enc(x="None"), id="has a short x"),
        pytest.param(_enc(x="!"), id="has no base64"),
        pytest.param(_enc(x=encode_base64url(bytes(32))), id="is not on its curve"),
        pytest.param(
            _enc(x=encode_base64url(b"\0" + decode_base64url(str(_enc()["x"])))),
            id="has a zero before x",
        ),
    ],
)
def test_an_encryption_key_is_refused_that(jwk: dict[str, Any]) -> None:
    with pytest.raises(KeySetError):
        RecipientKey.from_jwk(jwk)


def test_an_encryption_key_survives_its_own_jwk() -> None:
    public = DecryptionKey.generate().public

    assert RecipientKey.from_jwk({**public.to_jwk(), "key_ops": []}) == public
