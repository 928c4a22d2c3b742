"""Whose fault it is, and whether another try would help.

    AuthError
    ├── RefusalError              theirs: refuse, and say why by `code`; another try is refused too
    │   ├── MalformedTokenError   not of the form that we accept (RFC 7515 §3.1, RFC 8725 §3)
    │   ├── UntrustedTokenError   unknown key, bad signature, wrong issuer, audience, type
    │   ├── SealMismatchError     genuine, and of another message
    │   ├── ExpiredTokenError     too late, or too early
    │   ├── RevokedTokenError     its session or its subject's access was ended
    │   └── ForbiddenError        genuine, and without the scope
    ├── TrustUnavailableError     ours: nothing can be judged now; ask again, refuse nothing
    ├── KeyFileError              ours: a key file cannot be used; says which and what to do
    └── KeySetError               ours: a key set statement or trust root cannot be believed

No message quotes a token, a key or a password.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from auth.message import VerifiedMessage


class Check(IntEnum):
    """The checks on a message, in the order in which they are made."""

    PRESENCE = 1
    FORM = 2
    HEADER = 3
    ALGORITHM = 4
    KEY = 5
    SIGNATURE = 6
    CLAIMS = 7
    AUDIENCE = 8
    SEAL = 9
    TIME = 10
    REVOCATION = 11
    SCOPE = 12
    INBOX = 13

    @property
    def question(self) -> str:
        return _QUESTIONS[self]


_QUESTIONS: Final = {
    Check.PRESENCE: "exactly one carnet and one seal, of bearable size?",
    Check.FORM: "compact form, canonical base64url?",
    Check.HEADER: "header is strict JSON with exactly alg, kid, typ?",
    Check.ALGORITHM: "the expected typ, an allowed alg?",
    Check.KEY: "a key of that very signer, for that very alg, not withdrawn?",
    Check.SIGNATURE: "signature?",
    Check.CLAIMS: "claims are strict JSON of the right types?",
    Check.AUDIENCE: "our issuer, our name as the audience?",
    Check.SEAL: "sealed by the carnet's own client, for this body, route and type?",
    Check.TIME: "in time, under the handler's rule?",
    Check.REVOCATION: "session and subject not revoked?",
    Check.SCOPE: "scope for this type?",
    Check.INBOX: "this id for the first time, or for the same message again?",
}


class Code(StrEnum):
    """Stable codes of refusals: what logs, metrics, dead letters and HTTP clients see."""

    MISSING_TOKEN = "missing_token"  # noqa: S105 - a code, no secret
    DUPLICATE_TOKEN = "duplicate_token"  # noqa: S105 - a code, no secret
    OVERSIZED_TOKEN = "oversized_token"  # noqa: S105 - a code, no secret
    FORBIDDEN_HEADER = "forbidden_header"
    UNKNOWN_TYPE = "unknown_type"
    MALFORMED_TOKEN = "malformed_token"  # noqa: S105 - a code, no secret
    MALFORMED_HEADER = "malformed_header"
    WRONG_TYPE = "wrong_type"
    ALGORITHM_NOT_ALLOWED = "algorithm_not_allowed"
    UNKNOWN_KEY = "unknown_key"
    KEY_MISMATCH = "key_mismatch"
    KEY_RETIRED = "key_retired"
    BAD_SIGNATURE = "bad_signature"
    MALFORMED_CLAIMS = "malformed_claims"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_CLIENT = "wrong_client"
    TYPE_NOT_ALLOWED = "type_not_allowed"
    AMBIGUOUS_PUBLISHER = "ambiguous_publisher"
    SEAL_MISMATCH = "seal_mismatch"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    LIFETIME_TOO_LONG = "lifetime_too_long"
    TOO_OLD = "too_old"
    REVOKED = "revoked"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    ID_REUSED = "id_reused"
    RELEASE_REFUSED = "release_refused"
    RELEASE_EXPIRED = "release_expired"
    INVALID_BODY = "invalid_body"
    EXHAUSTED = "exhausted"
    POISON = "poison"
    DISCARDED = "discarded"


CHECK_OF: Final[dict[str, Check]] = {
    Code.MISSING_TOKEN: Check.PRESENCE,
    Code.DUPLICATE_TOKEN: Check.PRESENCE,
    Code.OVERSIZED_TOKEN: Check.PRESENCE,
    Code.FORBIDDEN_HEADER: Check.PRESENCE,
    Code.UNKNOWN_TYPE: Check.PRESENCE,
    Code.MALFORMED_TOKEN: Check.FORM,
    Code.MALFORMED_HEADER: Check.HEADER,
    Code.WRONG_TYPE: Check.ALGORITHM,
    Code.ALGORITHM_NOT_ALLOWED: Check.ALGORITHM,
    Code.UNKNOWN_KEY: Check.KEY,
    Code.KEY_MISMATCH: Check.KEY,
    Code.KEY_RETIRED: Check.KEY,
    Code.BAD_SIGNATURE: Check.SIGNATURE,
    Code.MALFORMED_CLAIMS: Check.CLAIMS,
    Code.WRONG_ISSUER: Check.AUDIENCE,
    Code.WRONG_AUDIENCE: Check.AUDIENCE,
    Code.WRONG_CLIENT: Check.SEAL,
    Code.TYPE_NOT_ALLOWED: Check.SEAL,
    Code.AMBIGUOUS_PUBLISHER: Check.SEAL,
    Code.SEAL_MISMATCH: Check.SEAL,
    Code.RELEASE_REFUSED: Check.SEAL,
    Code.RELEASE_EXPIRED: Check.SEAL,
    Code.NOT_YET_VALID: Check.TIME,
    Code.EXPIRED: Check.TIME,
    Code.LIFETIME_TOO_LONG: Check.TIME,
    Code.TOO_OLD: Check.TIME,
    Code.REVOKED: Check.REVOCATION,
    Code.INSUFFICIENT_SCOPE: Check.SCOPE,
    Code.ID_REUSED: Check.INBOX,
}
"""Which check refuses with which code."""


class AuthError(Exception):
    """Base of all that this package raises; `code` is stable, `detail` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = str(code)
        self.detail = detail


class RefusalError(AuthError):
    """What came in is refused, now and for ever.

    `authenticated` is set once carnet and seal have proved genuine and of this message: only
    then may a refusal be told to the user or be written down under the message's id.
    """

    authenticated: VerifiedMessage | None = None

    def of(self, message: VerifiedMessage) -> Self:
        """The same refusal, of a message that is known to be genuine."""
        self.authenticated = message
        return self


class MalformedTokenError(RefusalError):
    """Not a canonical compact JWS of strict JSON with the claims of its kind."""


class UntrustedTokenError(RefusalError):
    """Key, signature, algorithm, `typ`, `iss` or `aud` is not the expected one."""


class SealMismatchError(RefusalError):
    """The seal is genuine and binds another message, route, client or carnet."""


class ExpiredTokenError(RefusalError):
    """Outside its time by more than the leeway."""


class RevokedTokenError(RefusalError):
    """Session, subject or token was revoked."""


class ForbiddenError(RefusalError):
    """Genuine, in time, and without the scope that this type requires."""


class TrustUnavailableError(AuthError):
    """The trust feed is silent or has no statement: refuse nothing, ask again later."""

    def __init__(self, detail: str) -> None:
        super().__init__("trust_unavailable", detail)


class KeyFileError(AuthError):
    """A key file is missing, readable by others, locked by another passphrase, or no key."""

    def __init__(self, detail: str) -> None:
        super().__init__("key_file", detail)


class KeySetError(AuthError):
    """A key set statement, a trust root or a key in them cannot be believed."""

    def __init__(self, detail: str) -> None:
        super().__init__("key_set", detail)
