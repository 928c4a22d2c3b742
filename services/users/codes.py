"""Authorization codes: made where a user signs in, traded once for the tokens of that session.

The session is there from the sign-in on, and nobody has a token of it before the code is traded.
What is shown for a code and is none, or no longer, is not written to the audit log: anybody may
show it for ever.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

from sqlalchemy import Select, delete, select

from auth.claims import LEEWAY
from auth.strict import encode_base64url
from messaging.database import Database
from messaging.rpc import Refused
from services.contracts.authorization import Authorize, DescribeClient, DescribedClient, RedeemCode
from services.users.acts import Act, Acts, Asker
from services.users.audit import What
from services.users.clients import Clients, granted
from services.users.sessions import Ended, Opened, Sessions, digest_of
from services.users.sign_in import Credentials, SignIns
from services.users.store import AuthorizationCode, Session

CODE_LIFE: Final = 60
"""Seconds. "A maximum authorization code lifetime of 10 minutes is RECOMMENDED" (RFC 6749
§4.1.2); a browser needs one."""

FORGOTTEN: Final = LEEWAY + CODE_LIFE
"""Seconds after its end for which a code is kept: longer than any replica would take it, whose
clock is as far behind as clocks may be."""


class Codes:
    def __init__(
        self,
        *,
        database: Database,
        acts: Acts,
        clients: Clients,
        sign_ins: SignIns,
        sessions: Sessions,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._acts = acts
        self._clients = clients
        self._sign_ins = sign_ins
        self._sessions = sessions
        self._clock = clock

    async def describe(self, request: DescribeClient) -> DescribedClient:
        """Whom an answer may be sent to.

        Raises:
            Refused: `unknown_client`, `invalid_redirect_uri`.
        """
        async with self._database.session() as work:
            client, address = await self._clients.answering(
                work, request.client_id, request.redirect_uri
            )
        return DescribedClient(
            client_id=client.client_id,
            title=client.title,
            redirect_uri=address,
            scopes=tuple(client.scopes),
        )

    async def make(self, asker: Asker, request: Authorize) -> str:
        """A code for the client that a user signs in with.

        Raises:
            Refused: `invalid_credentials`, `invalid_scope`, `unknown_client`,
                `invalid_redirect_uri`.
        """
        credentials = Credentials(request.name, request.password, request.origin)
        async with self._sign_ins.admitted(asker, What.AUTHORIZE, credentials) as (act, account):
            client, _ = await self._clients.answering(
                act.work, request.client_id, request.redirect_uri
            )
            act.entry.why = client.client_id
            scope = granted(client, request.scope)
            session = await self._sessions.begin(act, account, client.client_id, scope)
            code = secrets.token_urlsafe(32)
            act.work.add(
                AuthorizationCode(
                    digest=digest_of(code),
                    sid=session.sid,
                    redirect_uri=request.redirect_uri,
                    challenge=request.code_challenge,
                    expires_at=act.now + CODE_LIFE,
                )
            )
        return code

    async def redeem(self, asker: Asker, request: RedeemCode) -> Opened:
        """Spend the code for the first tokens of its session.

        A code that its client shows twice has been read by somebody else: the session ends
        (RFC 6749 §4.1.2, RFC 9700 §4.5). One that comes with another verifier or address is where
        it does not belong, and is good for nothing more.

        Raises:
            Refused: `invalid_client`, `invalid_grant`.
        """
        async with self._database.session() as work:
            await self._clients.need(work, request.client_id)
            if (await work.execute(_of_client(request))).first() is None:
                raise _refused()
        async with self._acts.of(asker, What.REDEEM_CODE) as act:
            return await self._spend(act, request)

    async def prune(self) -> None:
        """Forget the codes that were never used, with their sessions, which nobody has.

        Those that were used stay for as long as their sessions, to be known again.
        """
        async with self._database.transaction() as work:
            unused = (
                AuthorizationCode.spent_at.is_(None),
                AuthorizationCode.expires_at < int(self._clock()) - FORGOTTEN,
            )
            await work.execute(
                delete(Session).where(Session.sid.in_(select(AuthorizationCode.sid).where(*unused)))
            )

    async def _spend(self, act: Act, request: RedeemCode) -> Opened:
        # Locked: of two who use one code at once, the second waits here.
        row = (await act.work.execute(_of_client(request).with_for_update())).one_or_none()
        if row is None:  # removed, or its session ended, meanwhile
            raise _refused()
        code, session = row
        act.entry.whom, act.entry.session = session.sub, session.sid
        if code.spent_at is not None:
            act.entry.why = Ended.CODE_REUSED
            await self._sessions.end(act, session.sid, Ended.CODE_REUSED)
            raise _refused()
        act.entry.why = _what_is_wrong(code, request, act.now)
        opened = await self._sessions.first(act, session) if act.entry.why is None else None
        if opened is None:
            # With its session, of which there is no token.
            await act.work.execute(delete(Session).where(Session.sid == session.sid))
            raise _refused()
        code.spent_at = act.now
        act.entry.who = session.sub
        return opened


def _of_client(request: RedeemCode) -> Select[AuthorizationCode, Session]:
    """The code, if it is the client's and its session has not ended; with that session."""
    return (
        select(AuthorizationCode, Session)
        .join(Session, AuthorizationCode.sid == Session.sid)
        .where(
            AuthorizationCode.digest == digest_of(request.code),
            Session.client_id == request.client_id,
            Session.ended_at.is_(None),
        )
    )


def _what_is_wrong(code: AuthorizationCode, request: RedeemCode, now: int) -> str | None:
    if now >= code.expires_at:
        return "expired"
    if request.redirect_uri != code.redirect_uri:
        return "redirect_uri"
    # There is no code without a challenge, so none goes without this (RFC 9700 §4.8).
    if not hmac.compare_digest(_challenge(request.code_verifier), code.challenge):
        return "code_verifier"
    return None


def _challenge(verifier: str) -> str:
    """`S256` (RFC 7636 §4.2)."""
    return encode_base64url(hashlib.sha256(verifier.encode("ascii")).digest())


def _refused() -> Refused:
    return Refused("invalid_grant", "the code is not valid, or no longer")
