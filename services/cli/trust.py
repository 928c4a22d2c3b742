"""`carnet trust`: makes, changes and signs the key set statement. Needs no broker."""

import time
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from auth.claims import ClientId
from auth.encryption import DecryptionKey
from auth.errors import KeySetError
from auth.keys import Algorithm, SigningKey
from auth.publickey import read_recipient_key, read_verification_key
from auth.statement import KeySetDraft
from services.cli.amend import STATE, State, amend, key_passphrase, open_folder
from services.cli.answer import Json, print_json
from services.cli.statement import as_json, describe, needs_signing
from services.contracts.clients import CLIENTS, EVENTS, Grant
from services.contracts.topology import GATEWAY, USER_SERVICE
from services.declared import read_declared
from services.errors import StartError
from services.keyring import ISSUER, Keyring
from services.local.trust import complete_issuer

app: Final = typer.Typer(
    help="Who may do what: make, change and sign the key set statement.", no_args_is_help=True
)

_DAY: Final = 24 * 3600

Owner: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="CLIENT|issuer",
        help="Whose key: a client's, or the issuer's.",
        autocompletion=lambda: [ISSUER, *CLIENTS],
    ),
]


@app.command()
def init(
    *,
    state: State = STATE,
    issuer_key: Annotated[
        Path | None,
        typer.Option(help="The issuer's public key (JWK or PEM); without it, keys are made here."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Make a trust root and the first statement, which lists the issuer and no client yet.

    CARNET_ROOT_PASSPHRASE (or …_FILE) encrypts the root's private key, CARNET_KEY_PASSPHRASE
    the issuer's.

    Examples:
      carnet trust init --state root-of-trust
      carnet trust init --issuer-key issuer.jwk
    """
    authority, keyring = open_folder(state)
    now = time.time()
    with authority.alone():
        if authority.exists or authority.has_statement:
            raise StartError(f"{state}: there is a trust root already; it is never overwritten")
        draft = KeySetDraft.new(USER_SERVICE)
        if issuer_key is None:
            complete_issuer(draft, keyring, now=now)
        else:
            draft.add_issuer_key(read_verification_key(issuer_key), "active")
        authority.ensure_root()
        key_set = authority.publish(draft, now=now)
    if json_output:
        print_json(as_json(key_set))
        return
    console = Console()
    made = f"made a trust root in {state}; keep {state}/root apart from every service"
    console.print(made, markup=False, soft_wrap=True)
    console.print(describe(key_set, now=now))


@app.command()
def show(
    *,
    state: State = STATE,
    json_output: Json = False,
) -> None:
    """Verify the present statement and show what it says.

    Examples:
      carnet trust show
      carnet trust show --json
    """
    authority, _ = open_folder(state)
    now = time.time()
    key_set = authority.current(now=now)
    if json_output:
        print_json(as_json(key_set))
        return
    Console().print(describe(key_set, now=now))
    if needs_signing(key_set, now=now):
        Console(stderr=True).print("[yellow]it ends soon; run: carnet trust sign[/]")


@app.command()
def key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The private key's file.")],
    *,
    enc: Annotated[
        bool, typer.Option("--enc", help="A key that opens, not one that signs.")
    ] = False,
    algorithm: Annotated[Algorithm, typer.Option(help="How it signs.")] = "ES256",
) -> None:
    """Make a private key, or read the one that is there, and print its public JWK.

    CARNET_KEY_PASSPHRASE (or …_FILE) encrypts it. Give what is printed to the operator, for
    carnet trust register or rotate.

    Examples:
      carnet trust key keys/seal.pem > seal.jwk
      carnet trust key --enc keys/enc.pem > enc.jwk
    """
    passphrase = key_passphrase()
    if not path.exists():
        made = DecryptionKey.generate() if enc else SigningKey.generate(algorithm)
        made.save(path, passphrase)
    kind = DecryptionKey if enc else SigningKey
    print_json(kind.load(path, passphrase).public.to_jwk())


@app.command()
def register(
    client: Annotated[str, typer.Argument(help="The client's id.")],
    *,
    publishes: Annotated[
        list[str] | None, typer.Option(help="Message type that it may publish; repeatable.")
    ] = None,
    exchanges: Annotated[
        list[str] | None, typer.Option(help="Audience that it may ask carnets for; repeatable.")
    ] = None,
    scopes: Annotated[
        list[str] | None, typer.Option(help="Scope that it may ask for itself; repeatable.")
    ] = None,
    service: Annotated[
        Path | None, typer.Option(help="The service.toml of a service of one's own.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Its public key: JWK or PEM.")] = None,
    enc: Annotated[
        Path | None, typer.Option(help="Public key that it is written to with: JWK or PEM.")
    ] = None,
    state: State = STATE,
    json_output: Json = False,
) -> None:
    """List a client with its keys and what it may do.

    A service of this system gets what it needs where no right is named, and one of one's own what
    its service.toml says: then the gateway gets the right to send it its commands. Without --key,
    both keys are made here.

    Examples:
      carnet trust register api-gateway
      carnet trust register reports --scopes orders:read --key reports.jwk
      carnet trust register billing --service service.toml --key seal.jwk --enc enc.jwk
    """
    _check_client_id(client)
    named = Grant(frozenset(publishes or ()), frozenset(exchanges or ()), frozenset(scopes or ()))
    grant = CLIENTS.get(client, named) if named == Grant() else named
    declared = None if service is None else read_declared(service)
    if declared is not None:
        if declared.client != client or named != Grant():
            raise typer.BadParameter(f"{service} declares {declared.client} and all of its rights")
        grant = declared.grant

    def change(draft: KeySetDraft, keyring: Keyring) -> str:
        if client in draft.clients:
            raise KeySetError(f"client {client} is registered already")
        _check_events(draft, grant)
        encryption = read_recipient_key(enc) if enc is not None else None
        if key is None:
            public = keyring.seal(client).public
            encryption = encryption or keyring.encryption(client).public
        else:
            public = read_verification_key(key)
        draft.add_client(
            client,
            key=public,
            enc=encryption,
            publishes=grant.publishes,
            exchanges=grant.exchanges,
            scopes=grant.scopes,
        )
        if declared is not None and declared.commands and GATEWAY in draft.clients:
            _widen(draft, GATEWAY, Grant(frozenset(declared.commands), frozenset({client})))
        return f"registered {client} with key {public.kid}"

    amend(state, change).tell(as_json=json_output)


@app.command(name="grant")
def grant_more(
    client: Annotated[str, typer.Argument(help="The client's id.")],
    *,
    publishes: Annotated[
        list[str] | None, typer.Option(help="Message type that it may publish too; repeatable.")
    ] = None,
    exchanges: Annotated[
        list[str] | None, typer.Option(help="Audience that it may ask carnets for too; repeatable.")
    ] = None,
    scopes: Annotated[
        list[str] | None, typer.Option(help="Scope that it may ask for itself too; repeatable.")
    ] = None,
    state: State = STATE,
    json_output: Json = False,
) -> None:
    """Let a listed client do more than before; its keys stay.

    Examples:
      carnet trust grant api-gateway --publishes billing.refund.v1 --exchanges billing
    """
    more = Grant(frozenset(publishes or ()), frozenset(exchanges or ()), frozenset(scopes or ()))
    if more == Grant():
        raise typer.BadParameter("name what: --publishes, --exchanges or --scopes")

    def change(draft: KeySetDraft, _keyring: Keyring) -> str:
        _check_events(draft, more, by=client)
        _widen(draft, client, more)
        return f"{client} may do more"

    amend(state, change).tell(as_json=json_output)


@app.command()
def rotate(
    owner: Owner,
    *,
    key: Annotated[
        Path | None, typer.Option(help="Public key to list as next (JWK or PEM).")
    ] = None,
    grace: Annotated[
        int, typer.Option(min=0, help="Seconds for which the old key may go on to sign.")
    ] = 3600,
    ahead: Annotated[
        int | None,
        typer.Option(
            min=1, max=16, help="Only list next keys of the issuer, until there are so many."
        ),
    ] = None,
    state: State = STATE,
    json_output: Json = False,
) -> None:
    """Change a key in two steps, each a statement to hand to all services.

    First the new key is listed as next (from --key, or made here where the old one is kept
    here). Once every service knows it (30 s and more later), the same command makes it the
    active one and retires the old. With --ahead the issuer gets a stock of next keys, to which
    it changes by itself, one after the other.

    Examples:
      carnet trust rotate api-gateway
      carnet trust rotate api-gateway --grace 3600
      carnet trust rotate billing --key next.jwk
      carnet trust rotate issuer --ahead 4
    """
    if ahead is not None and (owner != ISSUER or key is not None):
        raise typer.BadParameter("--ahead is for the issuer, whose keys are made here")

    def stock(draft: KeySetDraft, keyring: Keyring) -> str:
        if not keyring.has(owner):
            raise StartError("the issuer's keys are not kept here; list each: --key FILE")
        listed = sum(k["state"] == "next" for k in draft.keys_of(owner))
        for _ in range(listed, ahead or 0):
            draft.add_next_key(owner, keyring.make_next(owner).public)
        return f"{max(listed, ahead or 0)} next keys of the issuer are listed"

    def change(draft: KeySetDraft, keyring: Keyring) -> str:
        upcoming = [k["kid"] for k in draft.keys_of(owner) if k["state"] == "next"]
        if upcoming and key is None:
            keyring.promote(owner, upcoming[0])
            draft.promote(owner, upcoming[0], now=time.time(), grace=grace)
            return f"{owner} is to sign with {upcoming[0]} now, and does so by itself"
        if key is not None:
            public = read_verification_key(key)
        elif keyring.has(owner):
            public = keyring.make_next(owner).public
        else:
            raise StartError(f"the keys of {owner} are not kept here; name the new one: --key FILE")
        draft.add_next_key(owner, public)
        return (
            f"listed {public.kid} as the next key of {owner}; "
            f"when every service has this statement: carnet trust rotate {owner}"
        )

    amend(state, change if ahead is None else stock).tell(as_json=json_output)


@app.command()
def withdraw(
    owner: Owner,
    *,
    kid: Annotated[
        str | None, typer.Option(help="Only this key; without it, the client as a whole.")
    ] = None,
    state: State = STATE,
    json_output: Json = False,
) -> None:
    """Stop believing a key, or a client, whatever it has signed and whenever.

    Private keys of it that are kept here are set aside: nothing lists or uses them again.

    Examples:
      carnet trust withdraw billing
      carnet trust withdraw issuer --kid NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs
    """
    if owner == ISSUER and kid is None:
        raise typer.BadParameter("name the issuer's key with --kid")

    def change(draft: KeySetDraft, _keyring: Keyring) -> str:
        if kid is None:
            draft.withdraw_client(owner)
            return f"withdrew {owner}"
        draft.withdraw_key(owner, kid)
        if all(k["state"] != "active" for k in draft.keys_of(owner)):
            return f"withdrew {kid}; {owner} has no active key now: carnet trust rotate {owner}"
        return f"withdrew {kid}"

    amended = amend(state, change)
    _, keyring = open_folder(state)
    aside = [f"set aside {path}" for path in keyring.set_aside(owner, kid, now=time.time())]
    amended.tell(*aside, as_json=json_output)


@app.command()
def sign(
    *,
    days: Annotated[int, typer.Option(min=1, max=90, help="For how long.")] = 90,
    state: State = STATE,
    json_output: Json = False,
) -> None:
    """Sign the present statement anew, with a new version and a new end.

    Examples:
      carnet trust sign
      carnet trust sign --days 30
    """
    amended = amend(state, lambda _draft, _keyring: "nothing else changed", life=days * _DAY)
    amended.tell(as_json=json_output)


def _widen(draft: KeySetDraft, client: str, more: Grant) -> None:
    listed = draft.clients.get(client, {})
    draft.grant(
        client,
        publishes=more.publishes.union(listed.get("publishes", ())),
        exchanges=more.exchanges.union(listed.get("exchanges", ())),
        scopes=more.scopes.union(listed.get("scopes", ())),
    )


def _check_events(draft: KeySetDraft, grant: Grant, *, by: str = "") -> None:
    """Verifiers believe an event of nobody once two may record it: better not list it so."""
    for other, listed in draft.clients.items():
        if other == by:
            continue
        taken = sorted(EVENTS & grant.publishes & set(listed.get("publishes", ())))
        if taken:
            raise KeySetError(
                f"{taken[0]} is an event, which one client alone records; {other} does already"
            )


def _check_client_id(client: str) -> None:
    try:
        TypeAdapter[str](ClientId).validate_python(client)
    except ValidationError:
        raise typer.BadParameter(
            "a client id has 2 to 63 lower-case letters, digits and dashes"
        ) from None
    if client == ISSUER:
        raise typer.BadParameter("this name means the issuer itself")
