"""A key file is its owner's alone, or encrypted; whatever is wrong with it is said in one line."""

import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from auth.encryption import DecryptionKey
from auth.errors import KeyFileError
from auth.keys import Algorithm, SigningKey
from tests.auth.forge import parties

PASSPHRASE = b"a passphrase made up for a test"
ALGORITHMS: tuple[Algorithm, ...] = ("ES256", "RS256", "EdDSA")


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE], ids=["open", "encrypted"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signing_key_is_the_same_after_a_rest(
    algorithm: Algorithm, passphrase: bytes | None, tmp_path: Path
) -> None:
    key = parties(algorithm).issuer
    path = tmp_path / "keys" / "service" / "seal.pem"

    key.save(path, passphrase)
    again = SigningKey.load(path, passphrase)

    assert (again.kid, again.algorithm) == (key.kid, algorithm)
    assert key.public.verify(b"signed", again.sign(b"signed"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (b"ENCRYPTED" in path.read_bytes()) == (passphrase is not None)


def test_a_decryption_key_is_the_same_after_a_rest(tmp_path: Path) -> None:
    key = DecryptionKey.generate()
    path = tmp_path / "enc.pem"

    key.save(path, PASSPHRASE)

    sealed = key.public.encrypt(b"for its owner")
    assert DecryptionKey.load(path, PASSPHRASE).decrypt(sealed) == b"for its owner"


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "seal.pem"
    parties().gateway.save(path, None)

    with pytest.raises(KeyFileError, match="File exists"):
        parties().orders.save(path, None)

    assert SigningKey.load(path).kid == parties().gateway.kid


def test_a_key_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    path = tmp_path / "seal.pem"
    path.symlink_to(tmp_path / "elsewhere.pem")

    with pytest.raises(KeyFileError, match="File exists"):
        parties().orders.save(path, None)

    assert not (tmp_path / "elsewhere.pem").exists()


@contextmanager
def _disk_full() -> Iterator[None]:
    """No file of this process may grow over 16 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_half_a_key_is_not_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "seal.pem"

    with _disk_full(), pytest.raises(KeyFileError, match="cannot write the key: File too large"):
        parties().orders.save(path, None)

    assert not path.exists()
    parties().orders.save(path, None)


@pytest.mark.parametrize("passphrase", [b"", b"x" * 1024], ids=["empty", "too long"])
def test_a_passphrase_is_refused_that_is(passphrase: bytes, tmp_path: Path) -> None:
    """An empty one is a setting that was forgotten: the key would lie open."""
    for key in (parties().orders, parties().users_enc):
        with pytest.raises(KeyFileError, match="passphrase"):
            key.save(tmp_path / "key.pem", passphrase)
    assert not (tmp_path / "key.pem").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o644, 0o620, 0o610, 0o777])
def test_an_open_key_file_is_refused_that_others_may_touch(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "seal.pem"
    parties().gateway.save(path, None)
    path.chmod(mode)

    with pytest.raises(KeyFileError, match=f"mode {mode:04o}.*chmod 600"):
        SigningKey.load(path)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_an_open_key_file_is_accepted_that_is_its_owners_alone(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "seal.pem"
    parties().gateway.save(path, None)
    path.chmod(mode)

    SigningKey.load(path)


def test_an_encrypted_key_file_may_be_seen_by_others(tmp_path: Path) -> None:
    path = tmp_path / "seal.pem"
    parties().gateway.save(path, PASSPHRASE)
    path.chmod(0o644)

    SigningKey.load(path, PASSPHRASE)


def test_a_passphrase_is_not_asked_of_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "seal.pem"
    parties().gateway.save(path, None)

    assert SigningKey.load(path, PASSPHRASE).kid == parties().gateway.kid


@pytest.mark.parametrize(
    ("passphrase", "said"),
    [
        pytest.param(None, "give its passphrase", id="none"),
        pytest.param(b"", "give its passphrase", id="an empty one"),
        pytest.param(b"another", "wrong passphrase", id="another"),
        pytest.param(b"x" * 5000, "wrong passphrase", id="one that is too long"),
    ],
)
def test_an_encrypted_key_file_is_refused_with(
    passphrase: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "seal.pem"
    parties().gateway.save(path, PASSPHRASE)

    with pytest.raises(KeyFileError, match=said) as error:
        SigningKey.load(path, passphrase)
    assert str(path) in error.value.detail
    assert "another" not in error.value.detail


def _pem(key: PrivateKeyTypes, *, traditional: bool = False, encrypted: bool = False) -> bytes:
    format_ = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
    return key.private_bytes(
        Encoding.PEM, format_, BestAvailableEncryption(PASSPHRASE) if encrypted else NoEncryption()
    )


OTHER_KEY = ec.generate_private_key(ec.SECP224R1())
GOOD_PEM = _pem(ec.generate_private_key(ec.SECP256R1()))
FILES: dict[str, bytes] = {
    "empty": b"",
    "text": b"not a key",
    "random": os.urandom(4096),
    "longer than any key": GOOD_PEM[:60] + b"A" * 200_000,
    "cut off": GOOD_PEM[:100],
    "PEM of nothing": b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    "PEM of text": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "a public key": parties().orders.public._key.public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    ),
    "a key of a curve that has no JWK": _pem(OTHER_KEY),
    "a key of another curve": _pem(ec.generate_private_key(ec.SECP384R1())),
    "a key for an exchange": _pem(X25519PrivateKey.generate()),
    "encrypted in the old way": _pem(
        ec.generate_private_key(ec.SECP256R1()), traditional=True, encrypted=True
    ),
    "an open key that says it is encrypted": GOOD_PEM
    + b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n-----END ENCRYPTED PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in FILES.items()])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE], ids=["open", "with a passphrase"])
def test_a_key_file_is_refused_that_is(
    data: bytes, passphrase: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(data)
    path.chmod(0o600)

    for load in (SigningKey.load, DecryptionKey.load):
        with pytest.raises(KeyFileError, match=r"key\.pem: "):
            load(path, passphrase)


def test_a_signing_key_of_another_kind_is_no_decryption_key(tmp_path: Path) -> None:
    path = tmp_path / "seal.pem"
    SigningKey.generate("EdDSA").save(path, None)

    with pytest.raises(KeyFileError, match="P-256"):
        DecryptionKey.load(path)


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "missing.pem", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(KeyFileError, match=reason):
            SigningKey.load(path)


def test_a_key_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(KeyFileError, match="cannot write the key"):
        parties().orders.save(tmp_path / "file" / "seal.pem", None)
