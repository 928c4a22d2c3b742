"""`carnet login`, `carnet whoami`, `carnet logout`: a session of the command line's own."""

import time
from collections.abc import Callable
from typing import Annotated, Final, TypeVar
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


class _Session(_Answer):
    """What the gateway says of the session (`GET /v1/sessions/current`)."""

    sid: _Plain
    sub: _Plain
    name: _Plain
    roles: tuple[_Plain, ...]
    client_id: _Plain
    scope: _Plain
    since: int


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


class _GoesOnError(StartError):
    """A session could not be ended."""

    code = "session_goes_on"


def login(
    *,
    url: Url = DEFAULT_URL,
    scope: Annotated[
        str | None,
        typer.Option(help="What the session may do; by default all that this client may ask for."),
    ] = None,
) -> None:
    """Sign in with a browser, on this machine or another; the password is never typed here.

    Prints an address and a code, and waits. The tokens are kept in a file that only you can read,
    and end with `carnet logout`. A session that was there before is ended.

    Examples:
      carnet login
      carnet login --url https://carnet.example --scope orders:read
    """
    with httpx.Client(timeout=DEADLINE) as http:
        server = _discover(http, url)
        codes = _begin(http, server, scope)
        say(f"open     {codes.verification_uri}")
        say(f"and type {codes.user_code}")
        say(f"or open  {codes.verification_uri_complete}")
        tokens = _wait(http, server, codes)
        kept = CredentialFile()
        with kept.alone():
            former = _former(kept)
            kept.write(_credentials(server.issuer, tokens))
            _end_former(http, former)
        session = current_session(http, server.issuer, tokens.access_token)
    say(f"signed in as {session.name} ({session.scope})")


def whoami(*, json_output: Json = False) -> None:
    """Say who is signed in, and what the session may do; asks the gateway.

    Examples:
      carnet whoami --json
    """
    kept = CredentialFile()
    with httpx.Client(timeout=DEADLINE) as http:
        credentials = renewed(http, kept)
        session = current_session(http, credentials.issuer, credentials.access_token)
    if json_output:
        print_json({"issuer": credentials.issuer, **session.model_dump(mode="json")})
        return
    say(f"{session.name} ({', '.join(session.roles)}), subject {session.sub}")
    say(f"at {credentials.issuer}, with {session.scope}, session {session.sid}")


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
    with kept.alone(), httpx.Client(timeout=DEADLINE) as http:
        ends = not forget and kept.path.exists()
        if ends:
            try:
                _revoke(http, kept.read())
            except _GoesOnError as error:
                raise StartError(f"{error}; try again, or run: carnet logout --forget") from error
        kept.delete()
    answer("signed out", {"ended": ends}, as_json=json_output)


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


def _begin(http: httpx.Client, server: _Metadata, scope: str | None) -> _Codes:
    asked = {"client_id": CLIENT_ID} | ({} if scope is None else {"scope": scope})
    try:
        return _post(http, server.device_authorization_endpoint, asked, _Codes)
    except OAuthRefusedError as error:
        if error.error != "invalid_scope" or scope is None:
            raise
        raise StartError(
            f"carnet login may not ask for all of the scope {scope!r}; without --scope it asks "
            "for all that it may"
        ) from error


def _former(kept: CredentialFile) -> Credentials | None:
    """The session that a new one takes the place of, if its tokens can be read."""
    try:
        return kept.read()
    except StartError:
        return None


def _end_former(http: httpx.Client, former: Credentials | None) -> None:
    """End it; the new one is there, whether that succeeds or not."""
    if former is None:
        return
    try:
        _revoke(http, former)
    except _GoesOnError as error:
        typer.echo(f"carnet: the session before goes on: {error}", err=True)


def _revoke(http: httpx.Client, credentials: Credentials) -> None:
    """End the session.

    Raises:
        _GoesOnError: nobody has said that it is ended.
    """
    asked = {
        "client_id": CLIENT_ID,
        "token": credentials.refresh_token,
        "token_type_hint": "refresh_token",
    }
    try:
        server = _discover(http, credentials.issuer)
        answer = _request(lambda: http.post(server.revocation_endpoint, data=asked))
    except StartError as error:
        raise _GoesOnError(str(error)) from error
    if answer.status_code != httpx.codes.OK:  # "HTTP status code 200" (RFC 7009 §2.2)
        raise _GoesOnError(f"{answer.url}: answers {answer.status_code}")


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


def current_session(http: httpx.Client, issuer: str, access_token: str) -> _Session:
    """Whose session it is, as far as that may be shown on a terminal.

    Raises:
        NotSignedInError: it has ended.
        StartError: the gateway does not say.
    """
    headers = {"Authorization": f"Bearer {access_token}"}
    answer = _request(lambda: http.get(f"{issuer}/v1/sessions/current", headers=headers))
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise NotSignedInError("the session has ended; run: carnet login")
    if not answer.is_success:
        raise _UnreachableError(f"{issuer}: answers {answer.status_code}")
    return _parse(answer, _Session)


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
