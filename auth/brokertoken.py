"""The token that logs a service in at RabbitMQ's OAuth 2 plugin, and opens nothing else.

The plugin looks at signature, `aud`, `exp` and `scope`, and not at `typ`. So `aud` names the
broker, which no other kind of token does, and `typ` is one that no verifier of ours takes.
"""

from typing import Annotated, Final

from pydantic import Field

from auth.claims import Name, NumericDate, Subject, TokenId, service_subject
from auth.jws import Claims, sign_token
from auth.keys import SigningKey
from auth.tokens import new_token_id

BROKER_TOKEN: Final = "carnet-broker+jwt"  # noqa: S105 - a media type

MAX_BROKER_LIFE: Final = 15 * 60
"""Seconds. A token is renewed on the open connection, so this is also how long a login outlives
the client's withdrawal from the key set statement."""

MAX_SCOPES: Final = 2048
"""Characters. RabbitMQ 3.10 reads 4,096 bytes of a login, with all that is about the token."""

_SCOPES: Final = r"^[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*$"


class BrokerClaims(Claims):
    """What the plugin reads. It takes `sub` for the login's name."""

    iss: Name
    sub: Subject
    aud: Name
    iat: NumericDate
    exp: NumericDate
    jti: TokenId
    scope: Annotated[str, Field(max_length=MAX_SCOPES, pattern=_SCOPES)]


def sign_broker_token(
    issuer: str,
    key: SigningKey,
    *,
    client_id: str,
    resource: str,
    scopes: tuple[str, ...],
    now: float,
    life: int = MAX_BROKER_LIFE,
) -> str:
    """A token for the client's login at the broker named `resource`.

    scopes: as the plugin wants them, `<resource>.write:<vhost>/<name>` and so on.
    life: seconds; cut to 15 min.

    Raises:
        ValueError: a scope would be read as several or as none, or there are too many.
    """
    if any(" " in scope for scope in scopes):
        raise ValueError("a scope has no space in it (RFC 6749 §3.3)")
    claims = BrokerClaims(
        iss=issuer,
        sub=service_subject(client_id),
        aud=resource,
        iat=int(now),
        exp=int(now) + min(life, MAX_BROKER_LIFE),
        jti=new_token_id(),
        scope=" ".join(scopes),
    )
    return sign_token(claims, typ=BROKER_TOKEN, key=key)
