"""`carnet revoke`: end somebody's access now, on the user service's database itself."""

from typing import Annotated

import typer

from services.cli.answer import Json, answer
from services.cli.issuer import on_register
from services.users.acts import Asker
from services.users.assembly import Register
from services.users.audit import What
from services.users.sessions import Ended


def revoke(
    *,
    session: Annotated[
        str | None, typer.Option(metavar="SID", help="End this session, and void its tokens.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="End all of an account's sessions, and void its tokens."),
    ] = None,
    restored: Annotated[
        bool,
        typer.Option(
            "--restored", help="The database comes from a backup: have revocations counted anew."
        ),
    ] = False,
    json_output: Json = False,
) -> None:
    """Void tokens before their time; what is queued under them is refused as well.

    Every relying party hears of it within a moment, if a user service runs; otherwise from the
    next one that does, before anybody judges by it. The user may sign in again: to prevent that,
    carnet accounts disable NAME.

    Examples:
      carnet revoke --user mallory
      carnet revoke --session 0b4f5c1e-7f0a-4c0e-9d0e-2f6f0f5b8a11
      carnet revoke --restored
    """
    if [session is not None, user is not None, restored].count(True) != 1:
        raise typer.BadParameter("say one of --session SID, --user NAME and --restored")
    if session is not None:
        on_register(lambda register: _end_session(register, session))
        line = f"ended session {session}; its tokens are void"
        answer(line, {"revoked": "session", "session": session}, as_json=json_output)
    if user is not None:
        on_register(lambda register: register.accounts.end_sessions(Asker.operator(), user))
        line = f"ended all sessions of {user}; its tokens are void"
        answer(line, {"revoked": "user", "user": user}, as_json=json_output)
    if restored:
        on_register(_renew_feed)
        line = "revocations are counted anew; start the user service now"
        answer(line, {"revoked": "nobody", "counted_anew": True}, as_json=json_output)


async def _renew_feed(register: Register) -> None:
    async with register.acts.of(Asker.operator(), What.RENEW_FEED) as act:
        act.entry.whom = await register.revocations.renew_feed(act.work)


async def _end_session(register: Register, sid: str) -> None:
    async with register.acts.of(Asker.operator(), What.REVOKE_SESSION) as act:
        await register.sessions.end(act, sid, Ended.REVOKED)
