"""Devices (RFC 8628): where one asks to be signed in, and the pages on which its user does it."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from messaging.contract import Request as Question
from messaging.rpc import RpcRefusedError
from services.contracts.authorization import (
    AllowDevice,
    DenyDevice,
    DescribedDevice,
    DescribeDevice,
    DeviceDecided,
    StartDevice,
)
from services.contracts.topology import USER_SERVICE
from services.gateway import forms, pages
from services.gateway.documents import RPC, answer, problems_of
from services.gateway.fault_pages import also_as_page, for_people
from services.gateway.oauth import OAuthForm, ask, body_of, refuse_header
from services.gateway.oauth_errors import NO_STORE, errors_of
from services.gateway.parts import GatewayParts, parts_of
from services.gateway.routes.authorize import WRONG_PASSWORD, html, is_password
from services.gateway.routes.sessions import Origin
from services.web import problems
from services.web.faults import refused
from services.web.media import FORM

ENDPOINT: Final = "/oauth/device_authorization"
PAGE: Final = "/device"

_LONGEST_CODE: Final = 40
_UNKNOWN: Final = "No device waits with this code. Look again; codes count for ten minutes."

Parts = Annotated[GatewayParts, Depends(parts_of)]

router = APIRouter(tags=["oauth"])


class DeviceAuthorization(BaseModel):
    """A device authorization response (RFC 8628 §3.2)."""

    device_code: str = Field(description="For the token endpoint; for nobody's eyes.")
    user_code: str = Field(description="To be shown.", examples=["WDJB-MJHT"])
    verification_uri: str = Field(description="To be shown, or opened.")
    verification_uri_complete: str = Field(description="The same, with the code in it.")
    expires_in: int = Field(description="Seconds.")
    interval: int = Field(description="Seconds between two questions at the token endpoint.")


_EXAMPLE: Final = {
    "device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://carnet.example/device",
    "verification_uri_complete": "https://carnet.example/device?user_code=WDJB-MJHT",
    "expires_in": 600,
    "interval": 5,
}
_FORM: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": [pages.FORM_TOKEN, "user_code"],
                "properties": {
                    name: {"type": "string"}
                    for name in (pages.FORM_TOKEN, "user_code", "name", "password", "decision")
                },
            }
        }
    },
}


@router.post(
    ENDPOINT,
    operation_id="deviceAuthorization",
    summary="Begin to sign in on a device",
    response_model=DeviceAuthorization,
    responses={
        **answer(200, "The codes.", _EXAMPLE),
        **problems_of(
            problems.REQUEST_TIMEOUT, problems.BODY_TOO_LARGE, problems.TOO_MANY_ATTEMPTS, *RPC
        ),
        **errors_of("invalid_request", "invalid_client", "unauthorized_client", "invalid_scope"),
    },
    openapi_extra={
        "requestBody": body_of(
            {"scope": {"type": "string", "maxLength": 1000}},
            required=["client_id"],
            examples={"a device": {"client_id": "app:carnet-cli", "scope": "orders:read"}},
        )
    },
)
async def start(request: Request, parts: Parts, origin: Origin) -> JSONResponse:
    """Two codes: one that the user types at the verification address, one to ask with meanwhile.

    For a client that has no browser, or none that its user would type a password into.
    """
    refuse_header(request)
    form = await OAuthForm.read(request)
    question = StartDevice(
        client_id=form.need_public_client(), scope=form.get("scope"), origin=origin
    )
    started = await ask(parts, question)
    where = f"{parts.options.public_url}{PAGE}"
    codes = DeviceAuthorization(
        device_code=started.device_code,
        user_code=started.user_code,
        verification_uri=where,
        verification_uri_complete=f"{where}?user_code={started.user_code}",
        expires_in=started.expires_in,
        interval=started.interval,
    )
    return JSONResponse(codes.model_dump(mode="json"), headers=NO_STORE)


@router.get(
    PAGE,
    operation_id="device",
    summary="The verification page",
    response_class=Response,
    responses={**html(200, "Where the user types the code."), **problems_of()},
    openapi_extra={
        "parameters": [
            {
                "name": "user_code",
                "in": "query",
                "required": False,
                "description": "To be there already; it is still the user who goes on.",
                "schema": {"type": "string"},
            }
        ]
    },
)
async def ask_code(request: Request, parts: Parts) -> Response:
    """Ask for the code that a device shows (RFC 8628 §3.3). For a browser."""
    given = request.query_params.get("user_code", "")
    return _ask_code(request, parts, given[:_LONGEST_CODE])


@router.post(
    PAGE,
    operation_id="deviceSignIn",
    summary="The verification page's forms",
    response_class=Response,
    responses={
        **html(200, "What the device asks for; then, that it is signed in, or is not."),
        **html(400, "The form is none of ours."),
        **html(403, "The code, the name or the password is wrong: the page again."),
        **also_as_page(problems_of(problems.REQUEST_TIMEOUT, problems.BODY_TOO_LARGE, *RPC)),
    },
    openapi_extra={"requestBody": _FORM},
)
@for_people
async def decide(request: Request, parts: Parts, origin: Origin) -> Response:
    """What the pages send: first the code, then what the user decides."""
    fields = await forms.read(request)
    if not forms.is_ours(request, fields, secure=parts.options.secure):
        return forms.stale()
    code, decision = fields.get("user_code", "")[:_LONGEST_CODE], fields.get("decision")
    try:
        if decision == "deny":
            await _call(parts, DenyDevice(user_code=code, origin=origin))
            return pages.message("Not signed in", "The device was told. You can close this page.")
        if decision != "allow":
            return await _show(request, parts, code, origin)
        return await _allow(request, parts, {**fields, "user_code": code}, origin)
    except RpcRefusedError as error:
        if error.code == "unknown_user_code":
            return _ask_code(request, parts, code, alert=_UNKNOWN)
        if error.code == "invalid_scope":
            return pages.message(
                "Not signed in",
                "Your account may do nothing of what the device asks for.",
                status=403,
            )
        raise refused(error) from error


async def _allow(
    request: Request, parts: GatewayParts, fields: dict[str, str], origin: str | None
) -> Response:
    code, name, password = (fields.get(field, "") for field in ("user_code", "name", "password"))
    if is_password(name, password):
        question = AllowDevice(user_code=code, name=name, password=password, origin=origin)
        try:
            allowed = await _call(parts, question)
        except RpcRefusedError as error:
            if error.code != "invalid_credentials":
                raise
        else:
            return pages.message(
                "Signed in", f"{allowed.title} goes on by itself. You can close this page."
            )
    return await _show(request, parts, code, origin, name=name, alert=WRONG_PASSWORD)


async def _show(
    request: Request,
    parts: GatewayParts,
    code: str,
    origin: str | None,
    *,
    name: str = "",
    alert: str | None = None,
) -> Response:
    """What the device asks for, and where the user decides."""
    question = DescribeDevice(user_code=code, origin=origin)
    device: DescribedDevice = await parts.rpc.call(
        question, responder=USER_SERVICE, deadline=parts.options.rpc_deadline
    )
    secure = parts.options.secure
    token = forms.token_of(request, secure=secure)
    answer = pages.sign_in(
        client=device.title,
        scopes=device.scopes,
        action=PAGE,
        hidden={"user_code": device.user_code, pages.FORM_TOKEN: token},
        whither=f"Go on only if your own device shows the code {device.user_code}.",
        name=name,
        alert=alert,
        status=200 if alert is None else 403,
    )
    return forms.keep(answer, token, secure=secure)


def _ask_code(
    request: Request, parts: GatewayParts, code: str, *, alert: str | None = None
) -> Response:
    secure = parts.options.secure
    token = forms.token_of(request, secure=secure)
    answer = pages.user_code(action=PAGE, hidden={pages.FORM_TOKEN: token}, code=code, alert=alert)
    return forms.keep(answer, token, secure=secure)


async def _call(parts: GatewayParts, question: Question[DeviceDecided]) -> DeviceDecided:
    return await parts.rpc.call(
        question, responder=USER_SERVICE, deadline=parts.options.rpc_deadline
    )
