"""Releases: what the issuer states for an operator about a dead letter, once it has verified it."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from auth.claims import service_subject
from auth.errors import Code, RefusalError, RevokedTokenError
from auth.message import VerifiedMessage
from auth.release import LIFTS, Lift, What, sign_release
from auth.strict import parse_json_object, parse_token
from auth.tokens import AccessClaims, CarnetClaims
from auth.trust import FixedTrust, TrustSource
from auth.verifier import Verifier
from services.contracts.scopes import DEAD_LETTERS_RELEASE
from services.contracts.users import Discarded, DiscardLetter, Released, ReleaseLetter
from services.users.acts import Act, Acts, Asker
from services.users.audit import What as Doing
from services.users.oldkeys import OldKeys
from services.users.operators import Operators
from services.users.sessions import Sessions
from services.users.signing import IssuerKeys
from services.users.store import Account

_SHOWN: Final = 16
"""Characters of a letter's hash in the audit log."""


class Releases:
    def __init__(
        self,
        *,
        trust: TrustSource,
        keys: IssuerKeys,
        old_keys: OldKeys,
        operators: Operators,
        sessions: Sessions,
        acts: Acts,
        clock: Callable[[], float],
    ) -> None:
        self._trust = trust
        self._keys = keys
        self._old_keys = old_keys
        self._operators = operators
        self._sessions = sessions
        self._acts = acts
        self._clock = clock

    async def release(self, asker: Asker, request: ReleaseLetter, client_id: str) -> Released:
        """State that a dead letter is to be taken after all.

        Raises:
            Refused: `invalid_grant`, `insufficient_scope`.
            RefusalError: the message is not genuine, is revoked, or fails what is not lifted.
            TrustUnavailableError: nothing can be judged or signed now.
        """
        lift = frozenset[Lift](request.lift)
        async with self._acts.of(asker, Doing.RELEASE) as act:
            operator = await self._operators.acting(
                act, request.access_token, client_id, DEAD_LETTERS_RELEASE
            )
            message = await self._judge(act, request.carnet, request.seal, lift)
            act.entry.why = f"{_name(message)}, lifted: {' '.join(sorted(lift)) or 'nothing'}"
            return Released(
                release=await self._state(message, request.seal, "release", lift, operator)
            )

    async def discard(self, asker: Asker, request: DiscardLetter, client_id: str) -> Discarded:
        """Write down that a dead letter is discarded; state it where the letter is genuine.

        Raises:
            Refused: `invalid_grant`, `insufficient_scope`.
            TrustUnavailableError: nothing can be judged or signed now.
        """
        async with self._acts.of(asker, Doing.DISCARD) as act:
            operator = await self._operators.acting(
                act, request.access_token, client_id, DEAD_LETTERS_RELEASE
            )
            act.entry.why = f"letter {request.letter[:_SHOWN]}"
            if request.seal is None:
                return Discarded(release=None)
            everything = frozenset(LIFTS)
            with suppress(RefusalError):
                message = await self._judge(act, request.carnet, request.seal, everything)
                act.entry.why += f", {_name(message)}"
                return Discarded(
                    release=await self._state(
                        message, request.seal, "discard", everything, operator
                    )
                )
            return Discarded(release=None)

    async def _judge(
        self,
        act: Act,
        unverified_carnet: str | None,
        unverified_seal: str,
        lift: frozenset[Lift],
    ) -> VerifiedMessage:
        """Carnet and seal once more, as of now, by all keys that the issuer knows of."""
        key_set = self._trust.key_set
        if unverified_carnet is not None:
            kid = parse_token(unverified_carnet).unverified_header["kid"]
            key_set = await self._old_keys.with_key(key_set, kid)
        # Whom it says it is for is what it is judged by: so it proves to be for that one.
        verifier = Verifier(FixedTrust(key_set), audience=_audience(unverified_seal))
        message = verifier.letter(unverified_carnet, unverified_seal, lift, now=self._clock())
        act.entry.whom = _subject(message)
        if message.carnet is not None and "revocation" not in lift:
            await self._check_revocation(act.work, message.carnet)
        return message

    async def _check_revocation(self, work: AsyncSession, carnet: CarnetClaims) -> None:
        """By what this database holds, not by the feed: that forgets what is old.

        Raises:
            RevokedTokenError: also where nothing is known of its session any more.
        """
        if carnet.sid is None:
            return
        session = await self._sessions.find(work, carnet.sid)
        account = None if session is None else await work.get(Account, session.sub)
        if session is None or account is None or account.sub != carnet.sub:
            raise RevokedTokenError(Code.REVOKED, "nothing is known of its session any more")
        if session.ended_at is not None:
            raise RevokedTokenError(Code.REVOKED, "the session was ended")
        if carnet.epoch < account.epoch or not account.enabled:
            raise RevokedTokenError(Code.REVOKED, "the subject's access was ended")

    async def _state(
        self,
        message: VerifiedMessage,
        unverified_seal: str,
        what: What,
        lift: frozenset[Lift],
        operator: AccessClaims,
    ) -> str:
        return sign_release(
            message,
            unverified_seal,
            issuer=self._trust.key_set.issuer,
            key=await self._keys.signing_key(),
            what=what,
            lift=lift,
            by=operator.sub,
            now=self._clock(),
        )


def _audience(unverified_seal: str) -> str:
    """Whom a seal says it is for; nobody, where it says nothing that could be read."""
    with suppress(ValueError):
        aud = parse_json_object(parse_token(unverified_seal).unverified_payload).get("aud")
        return aud if isinstance(aud, str) else ""
    return ""


def _subject(message: VerifiedMessage) -> str:
    return service_subject(message.seal.iss) if message.carnet is None else message.carnet.sub


def _name(message: VerifiedMessage) -> str:
    return f"{message.seal.ty} {message.seal.jti} of {message.seal.iss}"
