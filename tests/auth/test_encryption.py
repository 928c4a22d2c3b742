"""Encrypted bodies open for their receiver alone, in one form, or are refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwe
from joserfc.jwk import ECKey, OctKey, OKPKey

from auth.encryption import DecryptionKey
from auth.errors import Code, RefusalError
from auth.strict import decode_base64url, encode_base64url
from tests.auth.forge import ABSENT, changed, parties

OWNER = parties().users_enc
SECRET = b'{"password":"made up for a test"}'
Change = Callable[[str], str | bytes]


@pytest.mark.parametrize("body", [b"", b"x", SECRET, bytes(256 * 1024)])
def test_what_is_encrypted_to_a_key_opens_with_it(body: bytes) -> None:
    assert OWNER.decrypt(OWNER.public.encrypt(body)) == body


def test_the_same_body_is_never_encrypted_alike() -> None:
    first, second = (OWNER.public.encrypt(SECRET).split(b".") for _ in range(2))

    assert first[0] != second[0]
    assert first[2:] != second[2:]


def test_nothing_of_the_body_can_be_read() -> None:
    sealed = OWNER.public.encrypt(SECRET)

    assert b"password" not in sealed
    assert all(b"password" not in decode_base64url(p) for p in sealed.decode().split("."))


def _header(**members: object) -> Change:
    """Other members; the key is agreed on from them, so this alone spoils the body too."""

    def change(text: str) -> str:
        header, rest = text.split(".", 1)
        made = changed(json.loads(decode_base64url(header)), **members)
        return f"{encode_base64url(json.dumps(made).encode())}.{rest}"

    return change


def _epk(**members: object) -> Change:
    def change(text: str) -> str:
        epk = json.loads(decode_base64url(text.split(".", 1)[0]))["epk"]
        return str(_header(epk=changed(epk, **members))(text))

    return change


def _part(index: int, change: Callable[[bytes], bytes]) -> Change:
    def mangle(text: str) -> str:
        parts = text.split(".")
        parts[index] = encode_base64url(change(decode_base64url(parts[index])))
        return ".".join(parts)

    return mangle


def _text(index: int, change: Callable[[str], str]) -> Change:
    def mangle(text: str) -> str:
        parts = text.split(".")
        parts[index] = change(parts[index])
        return ".".join(parts)

    return mangle


def _made_with(key: Any, **header: object) -> Change:
    """Encrypted in earnest, in a way that we do not accept."""

    def change(_text: str) -> str:
        made = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": OWNER.kid, **header}
        algorithms = [str(made["alg"]), str(made["enc"]), "DEF"]
        return jwe.encrypt_compact(made, SECRET, key, algorithms=algorithms)

    return change


def _owner_public() -> ECKey:
    return ECKey.import_key(dict(OWNER.public.jwk))


ROWS: dict[str, Change] = {
    "is empty": lambda _: "",
    "is dots": lambda _: "....",
    "is text": lambda _: "not encrypted",
    "is JSON": lambda _: SECRET.decode(),
    "is random": lambda _: bytes(range(256)),
    "is not ASCII": lambda text: text.encode() + b"\xff",
    "has four parts": lambda text: text.rpartition(".")[0],
    "has six parts": lambda text: f"{text}.AAAA",
    "is too long": lambda _: OWNER.public.encrypt(bytes(400 * 1024)),
    "has padding": lambda text: f"{text}=",
    "has a line break": lambda text: f"{text}\n",
    "has an encrypted key": _text(1, lambda _: "AAAA"),
    "has no header": _text(0, lambda _: ""),
    "has a header that is no JSON": _part(0, lambda h: h[:-1]),
    "has a header that is a list": _part(0, lambda h: b"[" + h + b"]"),
    "has a header that says enc twice": _part(0, lambda h: b'{"enc":"A128GCM",' + h[1:]),
    "has a header nested deep": _part(0, lambda h: h[:-1] + b',"x":' + b"[" * 100_000),
    "has a header of Latin-1": _part(0, lambda h: h + b"\xe9"),
    "has another alg": _header(alg="ECDH-ES+A256KW"),
    "has alg dir": _header(alg="dir"),
    "has alg none": _header(alg="none"),
    "has a list for alg": _header(alg=["ECDH-ES"]),
    "has no alg": _header(alg=ABSENT),
    "has another enc": _header(enc="A128GCM"),
    "has no enc": _header(enc=ABSENT),
    "has another kid": _header(kid=parties().gateway_enc.kid),
    "has no kid": _header(kid=ABSENT),
    "has a zip": _header(zip="DEF"),
    "has a crit": _header(crit=["exp"]),
    "has an apu": _header(apu="QWxpY2U"),
    "has a jwk": _header(jwk=dict(OWNER.public.jwk)),
    "has no epk": _header(epk=ABSENT),
    "has a string for an epk": _header(epk="AAAA"),
    "has an empty epk": _header(epk={}),
    "has an epk with a kid": _epk(kid="x"),
    "has a private epk": _epk(d="AAAA"),
    "has an epk of another curve": _epk(crv="P-384"),
    "has an epk of another type": _epk(kty="OKP"),
    "has an epk that says RSA": _epk(kty="RSA"),
    "has a list for a crv": _epk(crv=["P-256"]),
    "has a number for x": _epk(x=7),
    "has null for y": _epk(y=None),
    "has an empty x": _epk(x=""),
    "has a long x": _epk(x="A" * 4096),
    "has a padded x": _epk(x="AA=="),
    "has a point that is not on the curve": _epk(x=encode_base64url(bytes(31) + b"\7")),
    "has the point at infinity": _epk(
        x=encode_base64url(bytes(32)), y=encode_base64url(bytes(32))
    ),
    "has another ephemeral key": _epk(**dict(parties().gateway_enc.public.jwk)),
    "has another nonce": _part(2, lambda iv: bytes(len(iv))),
    "has no nonce": _text(2, lambda _: ""),
    "has a long nonce": _part(2, lambda iv: iv + bytes(200)),
    "has a nonce of a byte": _part(2, lambda _: b"\0"),
    "has another body": _part(3, lambda body: body[:-1] + bytes([body[-1] ^ 1])),
    "has no body": _text(3, lambda _: ""),
    "has a longer body": _part(3, lambda body: body + b"\0"),
    "has another tag": _part(4, lambda tag: tag[:-1] + bytes([tag[-1] ^ 1])),
    "has no tag": _text(4, lambda _: ""),
    "has a tag that is cut": _part(4, lambda tag: tag[:12]),
    "has a tag of four bytes": _part(4, lambda tag: tag[:4]),
    "has a longer tag": _part(4, lambda tag: tag + b"\0"),
    "names another key in earnest": _made_with(_owner_public(), kid=parties().gateway_enc.kid),
    "has a cty in earnest": _made_with(_owner_public(), cty="JWT"),
    "has an apu in earnest": _made_with(_owner_public(), apu="QWxpY2U"),
    "is compressed": _made_with(_owner_public(), zip="DEF"),
    "is encrypted in AES-CBC": _made_with(_owner_public(), enc="A256CBC-HS512"),
    "is encrypted with a wrapped key": _made_with(_owner_public(), alg="ECDH-ES+A256KW"),
    "is encrypted with a shared secret": _made_with(OctKey.generate_key(256), alg="dir"),
    "is encrypted on another curve": _made_with(OKPKey.generate_key("X25519")),
    "is encrypted to another": lambda _: DecryptionKey.generate().public.encrypt(SECRET),
    "is encrypted to another in our name": _made_with(ECKey.generate_key("P-256")),
}  # fmt: skip


@pytest.mark.parametrize("change", [pytest.param(c, id=name) for name, c in ROWS.items()])
def test_a_body_is_refused_that(change: Change) -> None:
    made = change(OWNER.public.encrypt(SECRET).decode())

    with pytest.raises(RefusalError) as refusal:
        OWNER.decrypt(made.encode() if isinstance(made, str) else made)

    assert refusal.value.code == Code.MALFORMED_TOKEN
    assert "made up" not in str(refusal.value)


def test_any_library_can_write_to_us() -> None:
    """The form is that of RFC 7516, so what joserfc makes with the same header opens."""
    made = _made_with(_owner_public())("")

    assert OWNER.decrypt(str(made).encode()) == SECRET
