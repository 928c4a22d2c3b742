"""Operators: whose access token lets them see and change what the user service keeps."""

from sqlalchemy.ext.asyncio import AsyncSession

from auth.errors import Code
from auth.tokens import AccessClaims
from messaging.rpc import Refused
from services.users.acts import Act
from services.users.presented import Presented


class Operators:
    """Judges the access token of somebody who signed in through the client that shows it.

    Raises, both ways of it:
        Refused: `invalid_grant` (it is no good, or not for this client, or its session has
            ended), `insufficient_scope` (it does not carry the scope, or its account may do less
            by now).
        TrustUnavailableError: nothing can be judged now.
    """

    def __init__(self, presented: Presented) -> None:
        self._presented = presented

    async def acting(
        self, act: Act, unverified_token: str, client_id: str, scope: str
    ) -> AccessClaims:
        """Who acts; what is written down of the act is so in their name."""
        access = self._presented.signed_in(unverified_token, client_id)
        act.entry.who, act.entry.session = access.sub, access.sid
        await self._require(act.work, access, scope)
        return access

    async def looking(
        self, work: AsyncSession, unverified_token: str, client_id: str, scope: str
    ) -> AccessClaims:
        """Who only looks."""
        access = self._presented.signed_in(unverified_token, client_id)
        await self._require(work, access, scope)
        return access

    async def _require(self, work: AsyncSession, access: AccessClaims, scope: str) -> None:
        if access.sid is None:
            raise Refused("invalid_grant", "this needs somebody who has signed in")
        allowed = await self._presented.allowed(work, access)
        if scope not in access.scopes & allowed:
            raise Refused(Code.INSUFFICIENT_SCOPE, f"this needs the scope {scope}")
