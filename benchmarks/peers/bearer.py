"""A token checked with PyJWT, as https://pyjwt.readthedocs.io/en/stable/usage.html has it.

The key object is made once. The leeway is a day, since that is how long an order may wait here:
with none, a peer would refuse what lay in the queue for five minutes.
"""

from datetime import timedelta
from typing import Any, Final

import jwt

AUDIENCE: Final = "order-service"
ISSUER: Final = "user-service"
REQUIRED: Final = ["exp", "iat", "iss", "aud", "sub"]
SCOPE: Final = "orders:write"


class TokenCheck:
    """Signature, `exp`, `iat`, `aud`, `iss`, and the scope."""

    def __init__(self, jwk: str) -> None:
        self._key = jwt.PyJWK.from_json(jwk)

    def __call__(self, header: Any) -> dict[str, Any]:
        """The claims of a genuine token."""
        claims: dict[str, Any] = jwt.decode(
            str(header).removeprefix("Bearer "),
            self._key,
            algorithms=["ES256"],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=timedelta(days=1),
            options={"require": REQUIRED},
        )
        if SCOPE not in claims["scope"].split():
            raise PermissionError(SCOPE)
        return claims
