"""`carnet login`, `carnet whoami`, `carnet logout`: a session of the command line's own."""

import time
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx
import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.cli.answer import Json, answer, print_json, say
from services.cli.credentials import CredentialFile, Credentials, NotSignedInError
from services.errors import StartError
from services.settings import is_loopback

CLIENT_ID: Final = "app:carnet-cli"
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
DEFAULT_URL: Final = "http://127.0.0.1:8000"
DEADLINE: Final = 15.0
"""Seconds for the gateway to answer."""
MARGIN: Final = 30.0
"""Seconds that an access token must still have to be used."""
SLOWER: Final = 5.0
"""Seconds by which to ask less often when told to (RFC 8628 §3.5)."""

Url = Annotated[
    str, typer.Option(envvar="CARNET_URL", help="The gateway, as it calls itself: https://host.")
]


_Plain = Annotated[str, Field(pattern=r"^[\x20-\x7E]{0,500}$")]
"""What is shown on a terminal, and shall not steer it."""


class _Answer(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)


A = TypeVar("A", bound=_Answer)


class _Metadata(_Answer):
    """What of a server's metadata (RFC 8414 §2) is needed here."""

    issuer: str
    token_endpoint: str
    device_authorization_endpoint: str
    revocation_endpoint: str


class _Codes(_Answer):
    """A device authorization response (RFC 8628 §3.2)."""

    device_code: str
    user_code: _Plain
    verification_uri: _Plain
    verification_uri_complete: _Plain
    expires_in: float = Field(gt=0, le=3600)
    interval: float = Field(default=5, ge=1, le=60)


class _Tokens(_Answer):
    """A token response (RFC 6749 §5.1)."""

    access_token: str
    refresh_token: str
    expires_in: float
    scope: str


class _Refusal(_Answer):
    """An error response (RFC 6749 §5.2)."""

    error: _Plain
    error_description: _Plain = ""


class OAuthRefusedError(StartError):
    """The gateway refuses, in the words of OAuth."""

    code = "oauth_refused"

    def __init__(self, refusal: _Refusal) -> None:
        super().__init__(f"the gateway refuses: {refusal.error}: {refusal.error_description}")
        self.error = refusal.error


class _UnreachableError(StartError):
    """No answer that could be read."""

    code = "unreachable"


def login(
    *,
    url: Url = DEFAULT_URL,
    scope: Annotated[
        str | None, typer.Option(help="What the session may do; all that you may do by default.")
    ] = None,
) -> None:
    """Sign in with a browser, on this machine or another; the password is never typed here.

    Prints an address and a code, and waits. The tokens are kept in a file that only you can read,
    and end with `carnet logout`.

    Examples:
      carnet login
      carnet login --url https://carnet.example --scope orders:read
    """
    with httpx.Client(timeout=DEADLINE) as http:
        server = _discover(http, url)
        asked = {"client_id": CLIENT_ID} | ({} if scope is None else {"scope": scope})
        codes = _post(http, server.device_authorization_endpoint, asked, _Codes)
        say(f"open     {codes.verification_uri}")
        say(f"and type {codes.user_code}")
        say(f"or open  {codes.verification_uri_complete}")
        tokens = _wait(http, server, codes)
        kept = CredentialFile()
        with kept.alone():
            kept.write(_credentials(server.issuer, tokens))
        session = _session(http, server.issuer, tokens.access_token)
    say(f"signed in as {session['name']} ({session['scope']})")


def whoami(*, json_output: Json = False) -> None:
    """Say who is signed in, and what the session may do; asks the gateway.

    Examples:
      carnet whoami --json
    """
    kept = CredentialFile()
    with httpx.Client(timeout=DEADLINE) as http:
        credentials = renewed(http, kept)
        session = _session(http, credentials.issuer, credentials.access_token)
    if json_output:
        print_json({"issuer": credentials.issuer, **session})
        return
    say(f"{session['name']} ({', '.join(session['roles'])}), subject {session['sub']}")
    say(f"at {credentials.issuer}, with {session['scope']}, session {session['sid']}")


def logout(
    *,
    forget: Annotated[
        bool, typer.Option("--forget", help="Only delete the file: the session goes on.")
    ] = False,
    json_output: Json = False,
) -> None:
    """End the session at the gateway, and delete its tokens here.

    Examples:
      carnet logout
      carnet logout --forget
    """
    kept = CredentialFile()
    with kept.alone():
        if not forget and kept.path.exists():
            _revoke(kept.read())
        kept.delete()
    answer("signed out", {"ended": not forget}, as_json=json_output)


def renewed(http: httpx.Client, kept: CredentialFile) -> Credentials:
    """The tokens that are kept, with an access token that still counts for a while.

    Raises:
        NotSignedInError: there are none, or the session has ended.
        StartError: the gateway does not answer.
    """
    with kept.alone():
        credentials = kept.read()
        if time.time() < credentials.expires_at - MARGIN:
            return credentials
        server = _discover(http, credentials.issuer)
        asked = {
            "grant_type": "refresh_token",
            "client_id": CLIENT_ID,
            "refresh_token": credentials.refresh_token,
        }
        try:
            tokens = _post(http, server.token_endpoint, asked, _Tokens)
        except OAuthRefusedError as error:
            if error.error != "invalid_grant":
                raise
            kept.delete()
            raise NotSignedInError("the session has ended; run: carnet login") from error
        credentials = _credentials(server.issuer, tokens)
        kept.write(credentials)
    return credentials


def _revoke(credentials: Credentials) -> None:
    asked = {
        "client_id": CLIENT_ID,
        "token": credentials.refresh_token,
        "token_type_hint": "refresh_token",
    }
    with httpx.Client(timeout=DEADLINE) as http:
        try:
            server = _discover(http, credentials.issuer)
            _request(lambda: http.post(server.revocation_endpoint, data=asked))
        except _UnreachableError as error:
            raise StartError(f"{error}; try again, or run: carnet logout --forget") from error


def _discover(http: httpx.Client, url: str) -> _Metadata:
    """The server's metadata, which has to be of that very server (RFC 8414 §3.3)."""
    where = urlsplit(url)
    if where.scheme != "https" and not (
        where.scheme == "http" and is_loopback(where.hostname or "")
    ):
        raise StartError(f"{url}: tokens would travel in the clear; use https://")
    issuer = url.rstrip("/")
    answer = _request(lambda: http.get(f"{issuer}/.well-known/oauth-authorization-server"))
    server = _parse(answer, _Metadata)
    if server.issuer != issuer:
        raise StartError(f"the gateway at {issuer} calls itself {server.issuer}; use that")
    endpoints = (
        server.token_endpoint,
        server.device_authorization_endpoint,
        server.revocation_endpoint,
    )
    if not all(endpoint.startswith(f"{issuer}/") for endpoint in endpoints):
        raise StartError(f"the gateway at {issuer} names endpoints of somebody else's")
    return server


def _wait(http: httpx.Client, server: _Metadata, codes: _Codes) -> _Tokens:
    """Ask until the user has decided (RFC 8628 §3.4, §3.5).

    Raises:
        StartError: the user does not want it, or took too long.
    """
    interval, until = codes.interval, time.monotonic() + codes.expires_in
    asked = {
        "grant_type": DEVICE_GRANT,
        "client_id": CLIENT_ID,
        "device_code": codes.device_code,
    }
    while time.monotonic() < until:
        time.sleep(interval)
        try:
            return _post(http, server.token_endpoint, asked, _Tokens)
        except _UnreachableError:
            interval *= 2  # "exponential backoff" on a connection timeout (§3.5)
        except OAuthRefusedError as error:
            if error.error == "slow_down":
                interval += SLOWER
            elif error.error == "access_denied":
                raise StartError("it was not allowed in the browser") from error
            elif error.error == "expired_token":
                break
            elif error.error != "authorization_pending":
                raise
    raise StartError("nobody signed in within ten minutes; run it again")


def _session(http: httpx.Client, issuer: str, access_token: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {access_token}"}
    answer = _request(lambda: http.get(f"{issuer}/v1/sessions/current", headers=headers))
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise NotSignedInError("the session has ended; run: carnet login")
    if not answer.is_success:
        raise _UnreachableError(f"{issuer}: answers {answer.status_code}")
    session: dict[str, Any] = answer.json()
    return session


def _credentials(issuer: str, tokens: _Tokens) -> Credentials:
    return Credentials(
        issuer=issuer,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        expires_at=time.time() + tokens.expires_in,
        scope=tokens.scope,
    )


def _post(http: httpx.Client, url: str, form: dict[str, str], kind: type[A]) -> A:
    return _parse(_request(lambda: http.post(url, data=form)), kind)


def _request(ask: Callable[[], httpx.Response]) -> httpx.Response:
    try:
        answer = ask()
    except httpx.TransportError as error:
        raise _UnreachableError(f"the gateway does not answer: {error}; does it run?") from error
    if answer.is_server_error:
        raise _UnreachableError(f"{answer.url}: answers {answer.status_code}; try again later")
    return answer


def _parse(answer: httpx.Response, kind: type[A]) -> A:
    try:
        if answer.is_success:
            return kind.model_validate_json(answer.content)
        refusal = _Refusal.model_validate_json(answer.content)
    except ValidationError as error:
        raise StartError(f"{answer.url}: is no gateway of Carnet's") from error
    raise OAuthRefusedError(refusal)
