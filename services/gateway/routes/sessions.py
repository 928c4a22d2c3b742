"""Sessions: sign in with name and password, sign out; and the accounts that do so."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, Security

from auth.claims import LEEWAY
from auth.tokens import MAX_ACCESS_LIFE
from services.contracts.authorization import DescribedSession, DescribeSession
from services.contracts.topology import USER_SERVICE
from services.contracts.users import Register, Registered, SignIn, SignOut
from services.gateway import examples
from services.gateway.bearer import caller
from services.gateway.carnets import Caller
from services.gateway.documents import BODY, RPC, TOKEN, answer, problems_of
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.requests import Credentials, NewAccount, TokenAnswer
from services.web import problems
from services.web.media import JSON, takes
from services.web.origin import origin_of

Parts = Annotated[GatewayParts, Depends(parts_of)]


async def origin(request: Request, parts: Parts) -> str | None:
    """Where the request comes from: the user service counts failures by it."""
    peer = None if request.client is None else request.client.host
    return origin_of(peer, request.headers, parts.options.trusted_proxies)


Origin = Annotated[str | None, Depends(origin)]

router = APIRouter(tags=["sessions"])


@router.post(
    "/v1/users",
    operation_id="register",
    summary="Register",
    status_code=201,
    responses={
        **answer(201, "The account.", examples.REGISTERED),
        **problems_of(*BODY, problems.NAME_TAKEN, problems.TOO_MANY_ATTEMPTS, *RPC),
    },
    dependencies=[Depends(takes(JSON))],
)
async def register(account: NewAccount, parts: Parts, origin: Origin) -> Registered:
    """Make an account. It may place, cancel and see orders of its own."""
    return await parts.rpc.call(
        Register(name=account.name, password=account.password, origin=origin),
        responder=USER_SERVICE,
        deadline=parts.options.rpc_deadline,
    )


@router.post(
    "/v1/sessions",
    operation_id="signIn",
    summary="Sign in",
    status_code=201,
    response_model_exclude_none=True,
    responses={
        **answer(
            201, "The session's tokens.", examples.TOKENS, headers={"Location": "The session."}
        ),
        **problems_of(*BODY, problems.INVALID_CREDENTIALS, problems.TOO_MANY_ATTEMPTS, *RPC),
    },
    dependencies=[Depends(takes(JSON))],
)
async def sign_in(
    credentials: Credentials, parts: Parts, origin: Origin, response: Response
) -> TokenAnswer:
    """Open a session. First party only: other clients use OAuth 2 (RFC 9700 §2.4)."""
    tokens = await parts.rpc.call(
        SignIn(name=credentials.name, password=credentials.password, origin=origin),
        responder=USER_SERVICE,
        deadline=parts.options.rpc_deadline,
    )
    response.headers["Location"] = "/v1/sessions/current"
    return TokenAnswer.of(tokens)


@router.get(
    "/v1/sessions/current",
    operation_id="currentSession",
    summary="Who am I?",
    responses={**answer(200, "The session.", examples.SESSION), **problems_of(*TOKEN, *RPC)},
)
async def current(caller: Annotated[Caller, Security(caller)], parts: Parts) -> DescribedSession:
    """Whose session the access token belongs to, through which client, and what it may do."""
    return await parts.rpc.call(
        DescribeSession(access_token=caller.token),
        responder=USER_SERVICE,
        deadline=parts.options.rpc_deadline,
    )


@router.delete(
    "/v1/sessions/current",
    operation_id="signOut",
    summary="Sign out",
    status_code=204,
    responses=problems_of(*TOKEN, *RPC),
)
async def sign_out(caller: Annotated[Caller, Security(caller)], parts: Parts) -> None:
    """End the session that the access token belongs to, with its refresh tokens and streams."""
    ended = await parts.rpc.call(
        SignOut(access_token=caller.token),
        responder=USER_SERVICE,
        deadline=parts.options.rpc_deadline,
    )
    # Here from this moment on; carnets and streams, and the other gateways, hear it from the feed.
    until = int(parts.clock()) + MAX_ACCESS_LIFE + LEEWAY
    parts.trust.revocations.revoke_session(ended.sid, until=until)
