"""What the OAuth 2 endpoints share: the form that they read, and how clients authenticate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from auth.assertion import unverified_client
from messaging.contract import Request as Question
from messaging.rpc import RpcRefusedError
from services.contracts.topology import GATEWAY, USER_SERVICE
from services.gateway.oauth_errors import STATUS, OAuthError
from services.gateway.parts import GatewayParts
from services.web.faults import quotable, refused
from services.web.media import FORM, media_type
from services.web.problems import ProblemError

ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_MAX_LENGTHS: Final = {
    "client_id": 200,
    "code": 200,
    "device_code": 200,
    "redirect_uri": 500,
    "subject_token": 8000,
    "audience": 200,
    "refresh_token": 500,
    "client_assertion": 4000,
    "scope": 1000,
    "token_type_hint": 100,
}
_SECRETS: Final = frozenset(
    {
        "token",
        "access_token",
        "refresh_token",
        "client_assertion",
        "client_secret",
        "code",
        "code_verifier",
        "device_code",
        "subject_token",
        "actor_token",
    }
)
_PARAMETERS: Final = _SECRETS | {
    "grant_type",
    "scope",
    "token_type_hint",
    "client_id",
    "client_assertion_type",
    "redirect_uri",
    "subject_token_type",
    "requested_token_type",
    "audience",
}

R = TypeVar("R", bound=BaseModel)


def body_of(
    properties: Mapping[str, Any], *, required: list[str], examples: Mapping[str, Any]
) -> dict[str, Any]:
    """Document a form of these parameters, with the client's authentication."""
    authentication = {
        "client_id": {"type": "string"},
        "client_assertion_type": {"type": "string", "enum": [ASSERTION]},
        "client_assertion": {"type": "string", "maxLength": _MAX_LENGTHS["client_assertion"]},
    }
    schema = {
        "type": "object",
        "required": required,
        "properties": {**properties, **authentication},
    }
    values = {name: {"value": value} for name, value in examples.items()}
    return {"required": True, "content": {FORM: {"schema": schema, "examples": values}}}


@dataclass(frozen=True, slots=True)
class OAuthForm:
    """The parameters of a request: neither the empty nor the unknown ones (RFC 6749 §3.2)."""

    fields: Mapping[str, str]

    @classmethod
    async def read(cls, request: Request) -> "OAuthForm":
        """Read a request's form.

        Raises:
            OAuthError: `invalid_request`: another content type, a parameter that is there twice
                or too long, or a secret in the address, where it is logged and kept.
        """
        if not _SECRETS.isdisjoint(request.query_params):
            raise OAuthError("invalid_request", "send the parameters in the body")
        if media_type(request) != FORM:
            raise OAuthError("invalid_request", f"send the parameters as {FORM}")
        fields: dict[str, str] = {}
        for name, value in (await _form(request)).multi_items():
            if name not in _PARAMETERS:
                continue
            if not isinstance(value, str) or name in fields:
                raise OAuthError("invalid_request", "a parameter is there more than once")
            if len(value) > _MAX_LENGTHS.get(name, len(value)):
                raise OAuthError("invalid_request", f"{quotable(name)} is too long")
            fields[name] = value
        return cls({name: value for name, value in fields.items() if value})

    def get(self, name: str) -> str | None:
        return self.fields.get(name)

    def need(self, name: str) -> str:
        """The parameter's value.

        Raises:
            OAuthError: `invalid_request`: it is missing.
        """
        if name not in self.fields:
            raise OAuthError("invalid_request", f"{name} is missing")
        return self.fields[name]

    def assertion(self) -> str | None:
        """The client's assertion; None of a public client, and of the gateway's own sessions.

        Raises:
            OAuthError: `invalid_client`: it authenticates otherwise, or as another than it says.
        """
        assertion, kind = self.get("client_assertion"), self.get("client_assertion_type")
        if "client_secret" in self.fields or (assertion is None) != (kind is None):
            raise OAuthError("invalid_client", "clients authenticate by private_key_jwt")
        if kind not in {None, ASSERTION}:
            raise OAuthError("invalid_client", f"the client_assertion_type is not {ASSERTION}")
        if assertion is None:
            return None
        if self.get("client_id") not in {None, unverified_client(assertion)}:
            # "the value of the "client_id" parameter [...] MUST identify the same client as is
            # identified by the client assertion" (RFC 7521 §4.2)
            raise OAuthError("invalid_client", "client_id is not the client that authenticates")
        return assertion

    def public_client(self) -> str | None:
        """The public client that asks, as it says; None for the gateway's own sessions.

        Raises:
            OAuthError: `invalid_client`: it has credentials, which public clients have not.
        """
        if self.assertion() is not None:
            raise OAuthError("invalid_client", "sessions are public clients': send no credentials")
        client_id = self.get("client_id")
        return None if client_id == GATEWAY else client_id

    def need_public_client(self) -> str:
        """The public client that asks, as it says.

        Raises:
            OAuthError: `invalid_request`: it does not say; `invalid_client`: as `public_client`.
        """
        client_id = self.public_client()
        if client_id is None:
            raise OAuthError("invalid_request", "client_id is missing")
        return client_id


async def _form(request: Request) -> FormData:
    try:
        return await request.form()
    except ProblemError:
        raise  # from below: too large, or too slow
    except HTTPException as error:
        raise OAuthError("invalid_request", error.detail) from error


def refuse_header(request: Request) -> None:
    """Refuse credentials in the header: clients authenticate in the form.

    Raises:
        OAuthError: `invalid_client`.
    """
    authorization = request.headers.get("authorization")
    if authorization is None:
        return
    # "the authorization server MUST respond with an HTTP 401 status code and include the
    # "WWW-Authenticate" response header field matching the authentication scheme used"
    scheme = quotable(authorization.partition(" ")[0])[:20] or "Basic"
    raise OAuthError(
        "invalid_client",
        "clients authenticate by private_key_jwt",
        challenge=f'{scheme if scheme.isalnum() else "Basic"} realm="carnet"',
    )


async def ask(parts: GatewayParts, question: Question[R]) -> R:
    """The user service's answer.

    Raises:
        OAuthError: its refusal, where it is one of OAuth's.
        ProblemError, MessagingError: any other.
    """
    try:
        return await parts.rpc.call(
            question, responder=USER_SERVICE, deadline=parts.options.rpc_deadline
        )
    except RpcRefusedError as error:
        if error.code not in STATUS:
            raise refused(error) from error
        raise OAuthError(error.code, error.detail) from error
