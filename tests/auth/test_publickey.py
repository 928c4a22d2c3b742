"""Public keys in files: JWK or PEM, and nothing that is private."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP224R1,
    SECP256R1,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth.encryption import DecryptionKey, RecipientKey
from auth.errors import KeyFileError
from auth.keys import Algorithm, SigningKey
from auth.publickey import read_recipient_key, read_verification_key

SPKI = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_a_key_is_the_same_as_jwk_and_as_pem(tmp_path: Path, algorithm: Algorithm) -> None:
    key = SigningKey.generate(algorithm)
    jwk, pem = tmp_path / "key.jwk", tmp_path / "key.pem"
    jwk.write_text(json.dumps(key.public.to_jwk()))
    pem.write_bytes(key._key.public_key().public_bytes(*SPKI))

    assert read_verification_key(jwk) == read_verification_key(pem) == key.public


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_a_key_written_as_pem_reads_as_the_same(tmp_path: Path, algorithm: Algorithm) -> None:
    key = SigningKey.generate(algorithm).public
    (tmp_path / "key.pem").write_bytes(key.to_pem())

    assert read_verification_key(tmp_path / "key.pem") == key


def test_a_recipients_key_is_the_same_as_jwk_and_as_pem(tmp_path: Path) -> None:
    key = DecryptionKey.generate()
    jwk, pem = tmp_path / "key.jwk", tmp_path / "key.pem"
    jwk.write_text(json.dumps(key.public.to_jwk()))
    pem.write_bytes(key._key.public_key().public_bytes(*SPKI))

    assert read_recipient_key(jwk) == read_recipient_key(pem) == key.public
    assert isinstance(read_recipient_key(pem), RecipientKey)


def spki(key: object) -> bytes:
    return key.public_key().public_bytes(*SPKI)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b'{"kty":"EC"}',
        b'{"kty":"oct","k":"c2VjcmV0"}',
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b'{"kty":"EC","kty":"EC"}',
        spki(X25519PrivateKey.generate()),
        spki(Ed448PrivateKey.generate()),
        spki(generate_private_key(SECP224R1())),
        spki(generate_rsa_key(65537, 1024)),  # noqa: S505 - too weak, and refused
        json.dumps(
            {**SigningKey.generate().public.to_jwk(), "d": "AAAA"},
        ).encode(),
    ],
    ids=range(14),
)
def test_what_is_no_public_key_of_ours_is_refused_by_the_files_name(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)

    for read in (read_verification_key, read_recipient_key):
        with pytest.raises(KeyFileError, match=str(path)):
            read(path)


def test_a_private_key_is_refused_with_the_word_private(tmp_path: Path) -> None:
    path = tmp_path / "seal.pem"
    SigningKey(generate_private_key(SECP256R1())).save(path, None)

    with pytest.raises(KeyFileError, match="private"):
        read_verification_key(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"key\.jwk: cannot read"):
        read_verification_key(tmp_path / "key.jwk")


def test_a_signing_key_is_no_key_to_write_to(tmp_path: Path) -> None:
    path = tmp_path / "key.jwk"
    path.write_text(json.dumps(SigningKey.generate().public.to_jwk()))

    with pytest.raises(KeyFileError):
        read_recipient_key(path)
