"""The authorization endpoint (RFC 6749 §3.1): a user signs in here, never at a client."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response

from messaging.rpc import RpcRefusedError
from services.contracts.authorization import Authorize, DescribeClient, DescribedClient
from services.contracts.topology import USER_SERVICE
from services.contracts.users import MAX_PASSWORD
from services.gateway import forms, pages
from services.gateway.documents import RPC, Responses, problems_of
from services.gateway.fault_pages import also_as_page, for_people
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.routes.sessions import Origin
from services.web import problems
from services.web.faults import refused
from services.web.media import FORM

PATH: Final = "/oauth/authorize"
PARAMETERS: Final = (
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "response_mode",
)
LONGEST: Final = {"client_id": 200, "redirect_uri": 500, "scope": 1000, "state": 2000}

_LONGEST_NAME: Final = 200
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_STATE: Final = re.compile(r"[\x20-\x7E]+")
WRONG_PASSWORD: Final = "Name or password is wrong, or was wrong too often: then wait a little."  # noqa: S105 - no password
_DESCRIPTIONS: Final = {
    "response_type": "`code`, and no other.",
    "client_id": "The public client that asks.",
    "redirect_uri": "Where the answer goes: one of the client's, to the letter; with any port "
    "where it is on 127.0.0.1 or [::1] (RFC 8252 §7.3).",
    "scope": "What the client asks for; all that it may ask for where nothing is named.",
    "state": "Comes back with the answer.",
    "code_challenge": "Base64url SHA-256 of the code verifier (RFC 7636 §4.2).",
    "code_challenge_method": "`S256`, and no other.",
    "response_mode": "`query`, and no other.",
}
_LEADS_BACK: Final[Responses] = {
    303: {
        "description": "Back to the client, with `code` or `error`, `state`, and `iss` (RFC 9207).",
        "headers": {
            "Location": {"description": "The client's address.", "schema": {"type": "string"}}
        },
    }
}

Parts = Annotated[GatewayParts, Depends(parts_of)]

router = APIRouter(tags=["oauth"])


def html(status: int, description: str) -> Responses:
    """Document a page."""
    return {status: {"description": description, "content": pages.DOCUMENTED}}


class LeadingBackError(Exception):
    """An answer that the client gets in the place of a code (RFC 6749 §4.1.2.1)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error = error
        self.description = description


@router.get(
    PATH,
    operation_id="authorize",
    summary="Sign in for a client",
    response_class=Response,
    responses={
        **html(200, "The page on which the user signs in."),
        **html(400, "The client or its address is not known: nobody is sent anywhere."),
        **_LEADS_BACK,
        **also_as_page(problems_of(*RPC)),
    },
    openapi_extra={
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": name in {"response_type", "client_id", "code_challenge"},
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in _DESCRIPTIONS.items()
        ]
    },
)
@for_people
async def authorize(request: Request, parts: Parts) -> Response:
    """Ask a user to sign in, and to let a client act for them (RFC 6749 §4.1, RFC 7636).

    For a browser that the client leads here. PKCE with `S256` is a must.
    """
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] in PARAMETERS]
    fields = {name: value for name, value in pairs if value}
    twice = repeated(name for name, _ in pairs)
    client = None if twice & {"client_id", "redirect_uri"} else await _client(parts, fields)
    if client is None:
        return _lost()
    try:
        return _show(request, parts, client, fields, twice=twice)
    except LeadingBackError as error:
        return _back(parts, client, None if "state" in twice else _state(fields), error)


@router.post(
    PATH,
    operation_id="authorizeSignIn",
    summary="The sign-in form",
    status_code=303,
    response_class=Response,
    responses={
        **html(400, "The form is none of ours: nobody is sent anywhere."),
        **html(403, "Name or password is wrong: the page again."),
        **_LEADS_BACK,
        **also_as_page(problems_of(problems.REQUEST_TIMEOUT, problems.BODY_TOO_LARGE, *RPC)),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                FORM: {
                    "schema": {
                        "type": "object",
                        "required": ["form_token", "client_id"],
                        "properties": {
                            name: {"type": "string"}
                            for name in (
                                *PARAMETERS,
                                pages.FORM_TOKEN,
                                "name",
                                "password",
                                "decision",
                            )
                        },
                    }
                }
            },
        }
    },
)
@for_people
async def sign_in(request: Request, parts: Parts, origin: Origin) -> Response:
    """What the page sends. It is taken from that page alone, in the browser that got it."""
    fields = {name: value for name, value in (await forms.read(request)).items() if value}
    if not forms.is_ours(request, fields, secure=parts.options.secure):
        return forms.stale()
    client = await _client(parts, fields)
    if client is None:
        return _lost()
    try:
        code = await _code(parts, client, fields, origin)
    except LeadingBackError as error:
        return _back(parts, client, _state(fields), error)
    if code is None:
        return _show(request, parts, client, fields, alert=WRONG_PASSWORD, status=403)
    return _to(parts, client, _state(fields), code=code)


def repeated(names: Iterable[str]) -> set[str]:
    """The names that are there more than once; in one pass, since strangers send them."""
    return {name for name, count in Counter(names).items() if count > 1}


async def _client(parts: GatewayParts, fields: Mapping[str, str]) -> DescribedClient | None:
    """The client, if answers may be sent where this says; else nothing is sent there."""
    if any(len(fields.get(name, "")) > LONGEST[name] for name in ("client_id", "redirect_uri")):
        return None
    question = DescribeClient(
        client_id=fields.get("client_id", ""), redirect_uri=fields.get("redirect_uri")
    )
    try:
        return await parts.rpc.call(
            question, responder=USER_SERVICE, deadline=parts.options.rpc_deadline
        )
    except RpcRefusedError as error:
        if error.code in {"unknown_client", "invalid_redirect_uri"}:
            return None
        raise refused(error) from error


def _check(client: DescribedClient, fields: Mapping[str, str]) -> tuple[str, ...]:
    """What is asked for, of what may be.

    Raises:
        LeadingBackError: it may not.
    """
    if "state" in fields and _state(fields) is None:
        raise LeadingBackError("invalid_request", "the state is too long or not ASCII")
    if "response_type" not in fields:
        raise LeadingBackError("invalid_request", "response_type is missing")
    if fields["response_type"] != "code":
        raise LeadingBackError("unsupported_response_type", "the response_type is not code")
    if fields.get("response_mode", "query") != "query":
        raise LeadingBackError("invalid_request", "the response_mode is not query")
    # "If the client does not send the "code_challenge_method" [...] defaults to "plain"" (RFC 7636
    # §4.3), which protects nothing from who reads the request.
    if fields.get("code_challenge_method") != "S256":
        raise LeadingBackError("invalid_request", "the code_challenge_method is not S256")
    if _CHALLENGE.fullmatch(fields.get("code_challenge", "")) is None:
        raise LeadingBackError("invalid_request", "there is no code_challenge of S256")
    scopes = tuple(fields["scope"].split(" ")) if "scope" in fields else client.scopes
    if len(fields.get("scope", "")) > LONGEST["scope"] or not set(scopes) <= set(client.scopes):
        raise LeadingBackError("invalid_scope", "the client may not ask for this scope")
    return scopes


async def _code(
    parts: GatewayParts, client: DescribedClient, fields: Mapping[str, str], origin: str | None
) -> str | None:
    """A code for the client; None where the user has not signed in.

    Raises:
        LeadingBackError: there is none, and the client is told why.
    """
    _check(client, fields)
    if fields.get("decision") != "allow":
        raise LeadingBackError("access_denied", "the user does not want it")
    name, password = fields.get("name", ""), fields.get("password", "")
    if not is_password(name, password):
        return None
    question = Authorize(
        client_id=client.client_id,
        redirect_uri=fields.get("redirect_uri"),
        code_challenge=fields["code_challenge"],
        scope=fields.get("scope"),
        name=name,
        password=password,
        origin=origin,
    )
    try:
        answer = await parts.rpc.call(
            question, responder=USER_SERVICE, deadline=parts.options.rpc_deadline
        )
    except RpcRefusedError as error:
        if error.code == "invalid_credentials":
            return None
        if error.code == "invalid_scope":
            raise LeadingBackError("invalid_scope", error.detail) from error
        raise refused(error) from error
    return answer.code


def is_password(name: str, password: str) -> bool:
    """Whether these can be a name and a password at all."""
    return 0 < len(password) <= MAX_PASSWORD and len(name) <= _LONGEST_NAME


def _show(
    request: Request,
    parts: GatewayParts,
    client: DescribedClient,
    fields: Mapping[str, str],
    *,
    twice: Collection[str] = (),
    alert: str | None = None,
    status: int = 200,
) -> Response:
    if twice:
        raise LeadingBackError("invalid_request", "a parameter is there more than once")
    scopes = _check(client, fields)
    secure = parts.options.secure
    token = forms.token_of(request, secure=secure)
    hidden = {name: fields[name] for name in PARAMETERS if name in fields}
    answer = pages.sign_in(
        client=client.title,
        scopes=scopes,
        action=PATH,
        hidden={**hidden, pages.FORM_TOKEN: token},
        whither=f"You are led back to {client.redirect_uri}.",
        form_action=f"'self' {pages.origin_source(client.redirect_uri)}",
        name=fields.get("name", ""),
        alert=alert,
        status=status,
    )
    return forms.keep(answer, token, secure=secure)


def _state(fields: Mapping[str, str]) -> str | None:
    """The state to be sent back: none that no client may have sent (RFC 6749 §A.5)."""
    state = fields.get("state", "")
    return state if len(state) <= LONGEST["state"] and _STATE.fullmatch(state) else None


def _back(
    parts: GatewayParts, client: DescribedClient, state: str | None, error: LeadingBackError
) -> Response:
    return _to(parts, client, state, error=error.error, error_description=error.description)


def _to(parts: GatewayParts, client: DescribedClient, state: str | None, **answer: str) -> Response:
    """Lead the browser back to the client, at an address that is one of its own."""
    answer |= {"iss": parts.options.public_url} | ({} if state is None else {"state": state})
    mark = "&" if "?" in client.redirect_uri else "?"
    # 303, so that no browser sends the password on (RFC 9700 §4.12).
    location = f"{client.redirect_uri}{mark}{urlencode(answer)}"
    return Response(status_code=303, headers={"Location": location})


def _lost() -> Response:
    """Nobody is sent to an address that is not the client's (RFC 6749 §4.1.2.1, RFC 9700 §4.11)."""
    return pages.message(
        "This link leads nowhere",
        "The application that led you here is not known to us, or wants the answer somewhere "
        "else than it may. Tell whoever runs it.",
        status=400,
    )
