"""Passwords are hashed with Argon2id, and a name that nobody has costs as much as one that is."""

import pytest
from argon2 import PasswordHasher, Type
from argon2.low_level import hash_secret

from auth.passwords import hash_password, needs_rehash, verify_password

PASSWORD = "correct horse battery staple ☂"
HASH = hash_password(PASSWORD)


def test_the_right_password_is_the_only_one() -> None:
    assert verify_password(HASH, PASSWORD)
    for other in ("", PASSWORD.lower() + " ", PASSWORD[:-1], PASSWORD.upper(), PASSWORD + "\0"):
        assert not verify_password(HASH, other)


def test_nul_does_not_end_a_password() -> None:
    hashed = hash_password("before\0after")

    assert verify_password(hashed, "before\0after")
    assert not verify_password(hashed, "before")


def test_the_hash_is_argon2id_with_a_salt_of_its_own() -> None:
    assert HASH.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hash_password(PASSWORD) != HASH
    assert PASSWORD not in HASH


def test_nobody_has_no_password() -> None:
    """The name is unknown: the work is done all the same, and the answer is always no."""
    for password in (PASSWORD, "", "nobody has this password"):
        assert not verify_password(None, password)


@pytest.mark.parametrize(
    "damaged",
    ["", "!", PASSWORD, HASH[:-1], HASH.replace("argon2id", "argon2x"), "$argon2id$", "*" * 90],
)
def test_an_account_without_a_hash_has_no_password(damaged: str) -> None:
    for password in (PASSWORD, "", "nobody has this password"):
        assert not verify_password(damaged, password)


def test_a_lone_surrogate_is_nobodys_password() -> None:
    """JSON can write one; it has no UTF-8, so nobody can have set it."""
    assert not verify_password(HASH, "\ud800")
    assert not verify_password(None, "\ud800")
    with pytest.raises(UnicodeEncodeError):
        hash_password("\ud800")


def test_a_hash_of_other_parameters_still_opens_and_is_to_be_renewed() -> None:
    weaker = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    of_argon2i = hash_secret(PASSWORD.encode(), b"salt" * 4, 2, 19456, 1, 32, Type.I).decode()

    for old in (weaker, of_argon2i):
        assert verify_password(old, PASSWORD)
        assert needs_rehash(old)
    assert not needs_rehash(HASH)
