"""`carnet token inspect`: what a token says, claim by claim, and what a verifier says to it."""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from auth.errors import Check, RefusalError
from auth.explain import CheckResult, decode_unverified, explain
from auth.jws import ACCESS_TOKEN, CARNET, SEAL
from auth.keyset import TrustRoot
from auth.trust import FixedTrust
from auth.verifier import Verifier
from services.authority import KEY_SET, TRUST_ROOT
from services.cli.amend import STATE, State
from services.cli.answer import Json, print_json
from services.errors import StartError

app: Final = typer.Typer(help="Read and explain tokens.", no_args_is_help=True)

_MEANINGS: Final = {
    "iss": "issuer: who says so",
    "sub": "subject: for whom it speaks",
    "aud": "audience: the one receiver",
    "client_id": "client that it was issued to",
    "iat": "issued at",
    "exp": "expires at",
    "auth_time": "when the user signed in",
    "jti": "id",
    "scope": "what it allows",
    "sid": "session that it ends with",
    "epoch": "rises when all of the subject's tokens are ended",
    "act": "actor: the client that may seal with it",
    "k": "kind of message: cmd, evt, req, rep",
    "ath": "hash of the carnet",
    "bh": "hash of the body",
    "ex": "exchange",
    "rk": "routing key",
    "ty": "type of the message",
    "cause": "id of the message that caused it",
    "what": "what becomes of the message",
    "seal": "hash of the seal of the one message that it is about",
    "lift": "what does not count",
    "by": "operator who asked",
    "rt": "where the reply goes",
    "re": "id of the request that it answers",
    "version": "version of the statement",
}
_TIMES: Final = frozenset({"iat", "exp", "auth_time", "retired_at"})

_CHECKS: Final = {
    ACCESS_TOKEN: (*list(Check)[1:8], Check.TIME),
    CARNET: (*list(Check)[1:8], Check.TIME),
    SEAL: (*list(Check)[1:7], Check.SEAL, Check.TIME),
}
"""What can be said of each kind by itself: presence, binding and scope need its message, and
revocation the trust feed, which is not heard here."""


@app.command()
def inspect(
    unverified_token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="The token, or - to read standard input.")
    ] = "-",  # noqa: S107 - a dash, no secret
    *,
    trust_root: Annotated[
        Path | None,
        typer.Option(
            envvar="CARNET_TRUST_ROOT", help="The trust root's public JWKs; else the state's."
        ),
    ] = None,
    key_set: Annotated[
        Path | None,
        typer.Option(envvar="CARNET_KEY_SET", help="The key set statement; else the state's."),
    ] = None,
    state: State = STATE,
    audience: Annotated[
        str | None,
        typer.Option(help="Judge as this receiver would; by default, as the one it names."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Decode a token, explain each claim, and show each check with its verdict.

    Exits with 1 where the token is refused. Whether its session or subject was revoked is known
    to running services alone, and not said here.

    Examples:
      carnet token inspect eyJhbGciOi…
      pbpaste | carnet token inspect --audience order-service
    """
    text = (sys.stdin.read() if unverified_token == "-" else unverified_token).strip()  # noqa: S105
    now = time.time()
    try:
        decoded = decode_unverified(text.removeprefix("Bearer "))
    except (RefusalError, ValueError) as error:
        raise StartError(f"not a token: {getattr(error, 'detail', error)}") from error
    results = _judge(
        text.removeprefix("Bearer "),
        decoded.unverified_header["typ"],
        audience or str(decoded.unverified_claims.get("aud", "")),
        trust_root or state / TRUST_ROOT,
        key_set or state / KEY_SET,
        now=now,
    )
    if as_json:
        _print_json(decoded.unverified_header, decoded.unverified_claims, results)
    else:
        _print_tables(decoded.unverified_header, decoded.unverified_claims, results, now=now)
    if any(result.verdict == "refused" for result in results):
        raise typer.Exit(1)


def _judge(
    token: str, typ: str, audience: str, trust_root: Path, key_set: Path, *, now: float
) -> list[CheckResult]:
    try:
        root = TrustRoot.from_json(trust_root.read_bytes())
        trust = FixedTrust(root.verify(key_set.read_text(encoding="ascii"), now=now))
    except OSError as error:
        raise StartError(
            f"{error.filename}: cannot read: {error.strerror}; name the files with "
            "--trust-root and --key-set, or set CARNET_STATE"
        ) from error
    except UnicodeDecodeError as error:
        raise StartError(f"{key_set}: is no key set statement") from error
    verifier = Verifier(trust, audience=audience)
    judges: dict[str, Callable[[], object]] = {
        ACCESS_TOKEN: lambda: verifier.access_token(token, now=now),
        CARNET: lambda: verifier.carnet(token, now=now),
        SEAL: lambda: verifier.seal(token, now=now),
    }
    if typ not in judges:
        raise StartError(f"a token of typ {typ!r} is not judged by itself")
    return explain(judges[typ], _CHECKS[typ])


def _print_json(header: dict[str, str], claims: dict[str, Any], results: list[CheckResult]) -> None:
    checks = [
        {"check": r.check.name.lower(), "verdict": r.verdict, "detail": r.detail} for r in results
    ]
    print_json({"header": header, "claims": claims, "checks": checks})


def _print_tables(
    header: dict[str, str], claims: dict[str, Any], results: list[CheckResult], *, now: float
) -> None:
    console = Console()
    signed = f", signed with {header['alg']}, key {header['kid']}"
    console.print(plain(header["typ"]).append_text(plain(signed)))
    console.print(claims_table(claims, now=now))
    console.print(checks_table(results))


def claims_table(claims: dict[str, Any], *, now: float) -> Table:
    """Each claim with its value and what it means."""
    table = Table(box=SIMPLE)
    for column in ("claim", "value", "meaning"):
        table.add_column(column, overflow="fold")
    for name, value in claims.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        if name in _TIMES and isinstance(value, int):
            shown = _time(value, now=now)
        table.add_row(plain(name), plain(shown), _MEANINGS.get(name, ""))
    return table


def _time(value: int, *, now: float) -> str:
    try:
        when = datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{value} (no calendar reaches it)"
    return f"{when:%Y-%m-%d %H:%M:%S} UTC ({value - now:+.0f} s)"


def plain(unverified_text: str) -> Text:
    """The text as it is: no markup is read in it, and nothing in it steers the terminal."""
    return Text(
        "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode() for c in unverified_text
        )
    )


_MARKS: Final = {"passed": "[green]✓[/]", "refused": "[red]✗[/]", "not reached": "[dim]·[/]"}


def checks_table(results: list[CheckResult]) -> Table:
    """Each check with its verdict, in the order in which they are made."""
    table = Table("", "check", "verdict", box=SIMPLE)
    for result in results:
        table.add_row(
            _MARKS[result.verdict], result.check.question, plain(result.detail or result.verdict)
        )
    return table
