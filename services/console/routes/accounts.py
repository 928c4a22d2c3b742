"""Accounts and their sessions: found, and ended."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Security

from services.console.asking import ask
from services.console.bearer import Operator, operator
from services.console.parts import Parts
from services.contracts.administration import (
    AccountsPage,
    EndSession,
    EndSessions,
    FindAccounts,
    FindSessions,
    SessionEnded,
    SessionsEnded,
    SessionsPage,
)
from services.contracts.scopes import OPERATIONS_READ, SESSIONS_REVOKE
from services.contracts.users import NAME_PATTERN

router = APIRouter()

Reader = Annotated[Operator, Security(operator, scopes=[OPERATIONS_READ])]
Revoker = Annotated[Operator, Security(operator, scopes=[SESSIONS_REVOKE])]


@router.get("/accounts")
async def find_accounts(
    operator: Reader,
    parts: Parts,
    search: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[str | None, Query(max_length=64)] = None,
) -> AccountsPage:
    """Accounts by name, a page at a time."""
    return await ask(
        parts, FindAccounts(access_token=operator.token, search=search or None, after=after)
    )


@router.get("/accounts/{sub}/sessions")
async def find_sessions(
    operator: Reader, parts: Parts, sub: Annotated[str, Path(max_length=200)]
) -> SessionsPage:
    """An account's sessions, the latest first."""
    return await ask(parts, FindSessions(access_token=operator.token, sub=sub))


@router.delete("/accounts/{name}/sessions")
async def end_sessions(
    operator: Revoker, parts: Parts, name: Annotated[str, Path(pattern=NAME_PATTERN)]
) -> SessionsEnded:
    """End all sessions of an account, and void its tokens."""
    return await ask(parts, EndSessions(access_token=operator.token, name=name))


@router.delete("/sessions/{sid}")
async def end_session(
    operator: Revoker, parts: Parts, sid: Annotated[str, Path(max_length=36)]
) -> SessionEnded:
    """End one session, and void its tokens."""
    return await ask(parts, EndSession(access_token=operator.token, sid=sid))
