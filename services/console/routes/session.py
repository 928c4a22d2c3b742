"""The operator's own session: signed in by name and password, held by the page in memory alone."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Security
from pydantic import BaseModel, ConfigDict, Field

from auth.claims import LEEWAY
from auth.tokens import MAX_ACCESS_LIFE
from services.console.asking import ask
from services.console.bearer import Operator, operator
from services.console.parts import ConsoleParts, Parts
from services.contracts.scopes import OPERATIONS_READ
from services.contracts.users import Password, Refresh, SignIn, SignOut, Tokens
from services.web.bearer import lacking
from services.web.media import JSON, takes
from services.web.origin import origin_of

router = APIRouter(prefix="/session")


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Credentials(_Body):
    """Who signs in."""

    name: Annotated[str, Field(max_length=200)]
    password: Password


class RefreshToken(_Body):
    """What a session goes on by; it is spent with that."""

    refresh_token: Annotated[str, Field(max_length=500)]


class TokenAnswer(BaseModel):
    """The session's tokens, as OAuth 2 has them (RFC 6749 §5.1)."""

    access_token: str
    refresh_token: str | None
    expires_in: int
    scope: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - no secret


@router.post("", dependencies=[Depends(takes(JSON))])
async def sign_in(credentials: Credentials, parts: Parts, request: Request) -> TokenAnswer:
    """Open a session, for somebody who may see what operators see."""
    peer = None if request.client is None else request.client.host
    origin = origin_of(peer, request.headers, parts.options.trusted_proxies)
    asked = SignIn(name=credentials.name, password=credentials.password, origin=origin)
    return await _kept_if_allowed(parts, await ask(parts, asked))


@router.post("/refresh", dependencies=[Depends(takes(JSON))])
async def refresh(body: RefreshToken, parts: Parts) -> TokenAnswer:
    """Go on with a session."""
    asked = Refresh(refresh_token=body.refresh_token)
    return await _kept_if_allowed(parts, await ask(parts, asked))


@router.delete("", status_code=204)
async def sign_out(operator: Annotated[Operator, Security(operator)], parts: Parts) -> None:
    """End the session."""
    await _end(parts, operator.token)


async def _kept_if_allowed(parts: ConsoleParts, tokens: Tokens) -> TokenAnswer:
    """The tokens, if the account may see anything here; else the session is ended again.

    Raises:
        ProblemError: it may not.
    """
    if OPERATIONS_READ not in tokens.scope.split():
        await _end(parts, tokens.access_token)
        raise lacking({OPERATIONS_READ})
    return TokenAnswer(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        expires_in=tokens.expires_in,
        scope=tokens.scope,
    )


async def _end(parts: ConsoleParts, access_token: str) -> None:
    """End the session: here from this moment on, elsewhere once the feed has told."""
    ended = await ask(parts, SignOut(access_token=access_token))
    until = int(parts.clock()) + MAX_ACCESS_LIFE + LEEWAY
    parts.trust.revocations.revoke_session(ended.sid, until=until)
