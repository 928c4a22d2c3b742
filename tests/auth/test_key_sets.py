"""A key set statement is believed under the root's signature alone, and only as a whole."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from auth.claims import LEEWAY
from auth.errors import KeySetError, TrustUnavailableError
from auth.jws import KEY_SET
from auth.keys import SigningKey
from auth.keyset import MAX_STATEMENT, KeySet, TrustRoot
from auth.statement import KeySetDraft
from auth.strict import decode_base64url, encode_base64url, parse_json_object
from tests.auth.forge import ABSENT, GATEWAY, ISSUER, NOW, ORDERS, Token, changed, parties

WHO = parties()
LIFE = 90 * 24 * 3600


def _statement(draft: KeySetDraft | None = None) -> Token:
    """The genuine statement, its claims ready to be changed and signed by the root again."""
    text = (draft or WHO.draft()).sign(WHO.root, now=NOW)
    return Token(parse_json_object(decode_base64url(text.split(".")[1])), KEY_SET, WHO.root)


def _believe(statement: Token | str, *, now: float = NOW) -> KeySet:
    text = statement if isinstance(statement, str) else statement.text
    return WHO.trust_root.verify(text, now=now)


def _issuer(**claims: object) -> Token:
    statement = _statement()
    issuer: Any = statement.claims["issuer"]
    return statement.but(issuer=changed(issuer, **claims))


def _client(client_id: str = GATEWAY, **claims: object) -> Token:
    statement = _statement()
    clients: Any = statement.claims["clients"]
    return statement.but(clients={**clients, client_id: changed(clients[client_id], **claims)})


def _first_key(**members: object) -> Token:
    """The issuer's active key, with other members."""
    issuer: Any = _statement().claims["issuer"]
    first, *others = issuer["keys"]
    return _issuer(keys=[changed(first, **members), *others])


def _listed(key: SigningKey, **members: object) -> dict[str, object]:
    return {**key.public.to_jwk(), "state": "active", **members}


def _also_listed(key: SigningKey) -> Token:
    """The statement, with this key as another one of the order service's."""
    return _client(ORDERS, keys=[_listed(WHO.orders), _listed(key)])


STATEMENTS: dict[str, Callable[[], Token | str]] = {
    "is empty": lambda: "",
    "is no token": lambda: "statement",
    "is JSON": lambda: json.dumps(_statement().claims),
    "is too long": lambda: _statement().text.ljust(MAX_STATEMENT + 1, "A"),
    "is another kind of token": lambda: _statement().with_header(typ="JWT"),
    "is a carnet": lambda: _statement().with_header(typ="carnet+jwt"),
    "has alg none": lambda: _statement().with_header(alg="none"),
    "has another key's alg": lambda: _statement().with_header(alg="EdDSA"),
    "has a jwk": lambda: _statement().with_header(jwk=WHO.stranger.public.to_jwk()),
    "is signed by a stranger": lambda: _statement().with_key(WHO.stranger),
    "is signed by the issuer": lambda: _statement().with_key(WHO.issuer),
    "is signed by a client that it lists": lambda: _statement().with_key(WHO.gateway),
    "is signed by a stranger in the root's name": lambda: (
        _statement().with_key(WHO.stranger).with_header(kid=WHO.root.kid)
    ),
    "has another body": lambda: _moved(_statement().text),
    "is from the future": lambda: _statement().but(iat=NOW + LEEWAY + 1),
    "is expired": lambda: _statement().but(iat=NOW - LIFE, exp=NOW - LEEWAY - 1),
    "has no version": lambda: _statement().but(version=ABSENT),
    "has version 0": lambda: _statement().but(version=0),
    "has a negative version": lambda: _statement().but(version=-1),
    "has a version that is text": lambda: _statement().but(version="1"),
    "has a version that is a fraction": lambda: _statement().but(version=1.5),
    "has a version that is true": lambda: _statement().but(version=True),
    "has a version over 2^53": lambda: _statement().but(version=2**53 + 1),
    "has no iat": lambda: _statement().but(iat=ABSENT),
    "has no exp": lambda: _statement().but(exp=ABSENT),
    "has an exp that is text": lambda: _statement().but(exp=str(NOW + LIFE)),
    "has no issuer": lambda: _statement().but(issuer=ABSENT),
    "has a list of issuers": lambda: _statement().but(issuer=[{}]),
    "has an issuer of no name": lambda: _issuer(iss=""),
    "has no key of the issuer's": lambda: _issuer(keys=[]),
    "has no keys member": lambda: _issuer(keys=ABSENT),
    "has no clients": lambda: _statement().but(clients=ABSENT),
    "has a list of clients": lambda: _statement().but(clients=[]),
    "has a client in upper case": lambda: _statement().but(clients={"Gateway": {"keys": []}}),
    "has a client of a long name": lambda: _statement().but(clients={"a" * 64: {"keys": []}}),
    "has a client with a colon": lambda: _statement().but(clients={"service:a": {"keys": []}}),
    "has a client without keys": lambda: _client(keys=ABSENT),
    "has a client whose keys are one key": lambda: _client(keys=_listed(WHO.stranger)),
    "has publishes that is text": lambda: _client(publishes="orders.place.v1"),
    "has an empty type": lambda: _client(publishes=[""]),
    "has exchanges that is no name": lambda: _client(exchanges=["*"]),
    "has scopes that is text": lambda: _client(scopes="orders:read"),
    "has a key without state": lambda: _first_key(state=ABSENT),
    "has a key of another state": lambda: _first_key(state="revoked"),
    "has a retired key without its time": lambda: _first_key(state="retired"),
    "has an active key that was retired": lambda: _first_key(retired_at=NOW),
    "has a retired key whose time is text": lambda: _first_key(state="retired", retired_at="0"),
    "has a private key": lambda: _first_key(d="AAAA"),
    "has a secret": lambda: _first_key(kty="oct", k="AAAA"),
    "has a key with another kid": lambda: _first_key(kid=WHO.gateway.kid),
    "has a key for encryption": lambda: _first_key(use="enc"),
    "has a key with another alg": lambda: _first_key(alg="HS256"),
    "has a key that is no key": lambda: _first_key(x="AAAA"),
    "has an enc that is a list": lambda: _client(enc=[]),
    "has an enc for signatures": lambda: _client(enc=WHO.stranger.public.to_jwk()),
    "has an enc that is private": lambda: _client(
        enc={**WHO.gateway_enc.public.to_jwk(), "d": "A"}
    ),
    "lists one key twice for one client": lambda: _also_listed(WHO.orders),
    "lists one key for two clients": lambda: _also_listed(WHO.gateway),
    "lists the issuer's key for a client": lambda: _also_listed(WHO.issuer),
    "lists a retired key for another client": lambda: _also_listed(WHO.gateway_retired),
    "lists the root's key for a client": lambda: _also_listed(WHO.root),
    "lists the root's key for the issuer": lambda: _issuer(keys=[_listed(WHO.root)]),
    "lists one encryption key for two": lambda: _client(ORDERS, enc=WHO.users_enc.public.to_jwk()),
    "lists a key for signatures and for encryption": lambda: _client(
        ORDERS, enc={k: v for k, v in WHO.orders.public.to_jwk().items() if k not in {"alg", "use"}}
    ),
    "says a member twice": lambda: replace(
        _statement(), write_payload=lambda text: '{"version": 9, ' + text[1:]
    ),
    "says a client twice": lambda: replace(
        _statement(), write_payload=lambda text: text.replace(f'"{ORDERS}": {{', f'"{GATEWAY}": {{')
    ),
    "is nested deep": lambda: _statement().but(x=json.loads("[" * 20 + "]" * 20)),
}


def _moved(text: str) -> str:
    header, _, signature = text.split(".")
    other = _statement().but(version=2).text.split(".")[1]
    return f"{header}.{other}.{signature}"


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in STATEMENTS.items()])
def test_a_statement_is_void_that(make: Callable[[], Token | str]) -> None:
    with pytest.raises(KeySetError):
        _believe(make())


def test_a_genuine_statement_says_who_may_do_what() -> None:
    key_set = _believe(_statement())

    assert (key_set.version, key_set.issuer) == (1, ISSUER)
    assert (key_set.issued_at, key_set.expires_at) == (NOW, NOW + LIFE)
    assert {k: v.state for k, v in key_set.issuer_keys.items()} == {
        WHO.issuer.kid: "active",
        WHO.issuer_next.kid: "next",
        WHO.issuer_retired.kid: "retired",
    }
    gateway = key_set.clients[GATEWAY]
    assert gateway.publishes == {"orders.place.v1", "orders.list.v1"}
    assert gateway.exchanges == {ORDERS}
    assert gateway.scopes == frozenset()
    assert gateway.enc == WHO.gateway_enc.public
    assert key_set.clients[ORDERS].enc is None


def test_a_statement_may_be_handed_over_with_blanks_around_it() -> None:
    text = _statement().text

    assert _believe(f"\n {text}\r\n").statement == text


def test_a_client_may_have_no_key_at_all() -> None:
    """All of its keys were withdrawn; what it may do is kept."""
    assert _believe(_client(keys=[])).clients[GATEWAY].keys == {}


@pytest.mark.parametrize(
    ("iat", "exp", "now"),
    [
        pytest.param(NOW + LEEWAY, NOW + LIFE, NOW, id="of a clock that is ahead"),
        pytest.param(NOW - LIFE, NOW - LEEWAY, NOW, id="in its last second"),
    ],
)
def test_a_statement_is_believed(iat: int, exp: int, now: float) -> None:
    _believe(_statement().but(iat=iat, exp=exp), now=now)


def test_only_a_current_statement_is_judged_by() -> None:
    key_set = _believe(_statement())

    key_set.require_current(NOW + LIFE)
    with pytest.raises(TrustUnavailableError):
        key_set.require_current(NOW + LIFE + 0.001)


def test_a_key_says_whose_it_is() -> None:
    key_set = _believe(_statement())

    found = key_set.sealing_key(WHO.gateway_retired.kid)
    assert found is not None
    assert (found[0], found[1].state) == (GATEWAY, "retired")
    for kid in (WHO.issuer.kid, WHO.gateway_enc.kid, WHO.stranger.kid, "", GATEWAY):
        assert key_set.sealing_key(kid) is None


def test_the_issuers_keys_are_published_without_their_state() -> None:
    jwks = _believe(_statement()).jwks()

    assert [key["kid"] for key in jwks["keys"]] == [
        WHO.issuer.kid,
        WHO.issuer_next.kid,
        WHO.issuer_retired.kid,
    ]
    assert all(set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use"} for key in jwks["keys"])


def test_a_verified_statement_cannot_be_changed() -> None:
    key_set = _believe(_statement())
    clients: Any = key_set.clients

    with pytest.raises(TypeError):
        clients[GATEWAY] = clients[ORDERS]
    with pytest.raises(TypeError):
        clients[GATEWAY].keys[WHO.stranger.kid] = clients[ORDERS].keys[WHO.orders.kid]


# Which of two statements is kept


def test_a_higher_version_is_kept() -> None:
    first, second = _believe(_statement()), _believe(_statement().but(version=2))

    assert first.supersedes(None)
    assert second.supersedes(first)


def test_a_lower_version_is_refused() -> None:
    first, second = _believe(_statement()), _believe(_statement().but(version=2))

    with pytest.raises(KeySetError, match="version 1 is older than 2"):
        first.supersedes(second)


def test_the_same_statement_again_changes_nothing() -> None:
    assert not _believe(text := _statement().text).supersedes(_believe(text))


def test_the_same_version_with_other_bytes_is_refused() -> None:
    first, other = _believe(_statement()), _believe(_statement().but(exp=NOW + LIFE - 1))

    with pytest.raises(KeySetError, match="two statements claim to be version 1"):
        other.supersedes(first)


def test_another_signature_over_the_same_bytes_is_the_same_statement() -> None:
    """Anyone can turn (r, s) into (r, n - s): that must not pass for a second statement."""
    text = _statement().text
    signing_input, _, signature = text.rpartition(".")
    raw = decode_base64url(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    believed = _believe(f"{signing_input}.{encode_base64url(twin)}")

    assert believed.statement != text
    assert not believed.supersedes(_believe(text))


# The trust root


def _root_file(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def test_a_trust_root_may_have_a_next_key() -> None:
    following = SigningKey.generate()
    root = TrustRoot.from_json(_root_file(WHO.root.public.to_jwk(), following.public.to_jwk()))

    for key in (WHO.root, following):
        root.verify(_statement().with_key(key).text, now=NOW)
    assert TrustRoot.from_json(json.dumps(root.to_jwks()).encode()).to_jwks() == root.to_jwks()


ROOTS: dict[str, bytes] = {
    "is empty": b"",
    "is no JSON": b"keys",
    "is not UTF-8": b"\xff",
    "is a list": b"[]",
    "has no keys": b"{}",
    "has an empty list": _root_file(),
    "has a table of keys": b'{"keys": {}}',
    "has a number for keys": b'{"keys": 1}',
    "has text for keys": b'{"keys": "abc"}',
    "has a number for a key": b'{"keys": [1]}',
    "has text for a key": b'{"keys": ["x"]}',
    "has null for a key": b'{"keys": [null]}',
    "has three keys": _root_file(*(SigningKey.generate().public.to_jwk() for _ in range(3))),
    "has a private key": _root_file({**WHO.root.public.to_jwk(), "d": "AAAA"}),
    "has a secret": _root_file({"kty": "oct", "k": "AAAA"}),
    "has a key for encryption": _root_file(dict(WHO.users_enc.public.to_jwk())),
    "says keys twice": b'{"keys": [], ' + _root_file(WHO.root.public.to_jwk())[1:],
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in ROOTS.items()])
def test_a_trust_root_is_refused_that(data: bytes) -> None:
    with pytest.raises(KeySetError):
        TrustRoot.from_json(data)


# Drafts: how the next statement is made


def _next(edit: Callable[[KeySetDraft], None]) -> KeySet:
    draft = KeySetDraft.of(WHO.key_set())
    edit(draft)
    return _believe(draft.sign(WHO.root, now=NOW))


def test_the_successor_of_a_statement_says_the_same_in_the_next_version() -> None:
    present, following = WHO.key_set(), _next(lambda _: None)

    assert following.version == present.version + 1
    assert following.supersedes(present)
    assert (following.issuer_keys, following.clients) == (present.issuer_keys, present.clients)


def test_a_draft_leaves_the_statement_that_it_follows_as_it_is() -> None:
    present = WHO.key_set()
    draft = KeySetDraft.of(present)
    draft.withdraw_client(GATEWAY)
    draft.withdraw_key("issuer", WHO.issuer.kid)

    assert GATEWAY in present.clients
    assert KeySetDraft.of(present).clients.keys() == present.clients.keys()


def test_a_client_is_registered_once() -> None:
    def register(draft: KeySetDraft, client_id: str) -> None:
        draft.add_client(
            client_id,
            key=WHO.stranger.public,
            enc=None,
            publishes=frozenset({"b.v1", "a.v1"}),
            exchanges=frozenset({ORDERS}),
            scopes=frozenset({"orders:read"}),
        )

    client = _next(lambda draft: register(draft, "billing-service")).clients["billing-service"]
    assert client.keys[WHO.stranger.kid].state == "active"
    assert client.publishes == {"a.v1", "b.v1"}
    assert client.exchanges == {ORDERS}

    with pytest.raises(KeySetError, match="registered already"):
        register(WHO.draft(), GATEWAY)
    with pytest.raises(KeySetError, match="means the issuer itself"):
        register(WHO.draft(), "issuer")


def test_a_key_is_rotated_in_two_steps() -> None:
    following = SigningKey.generate()
    draft = WHO.draft()

    draft.add_next_key(GATEWAY, following.public)
    key = _believe(draft.sign(WHO.root, now=NOW)).clients[GATEWAY].keys[following.kid]
    assert (key.state, key.signed_in_time(NOW)) == ("next", True)

    draft.promote(GATEWAY, following.kid, now=NOW + 0.5, grace=60)
    keys = _believe(draft.sign(WHO.root, now=NOW)).clients[GATEWAY].keys
    assert keys[following.kid].state == "active"
    retired = keys[WHO.gateway.kid]
    assert (retired.state, retired.retired_at) == ("retired", NOW + 60)
    assert (retired.signed_in_time(NOW + 60), retired.signed_in_time(NOW + 61)) == (True, False)
    assert keys[WHO.gateway_retired.kid].retired_at == WHO.RETIRED_AT


def test_the_issuer_is_rotated_as_a_client_is() -> None:
    key_set = _next(lambda draft: draft.promote("issuer", WHO.issuer_next.kid, now=NOW))

    assert key_set.issuer_keys[WHO.issuer_next.kid].state == "active"
    assert key_set.issuer_keys[WHO.issuer.kid].state == "retired"


def test_rights_and_encryption_keys_are_changed_without_the_keys() -> None:
    def change(draft: KeySetDraft) -> None:
        draft.grant(
            ORDERS, publishes=frozenset({"x.v1"}), exchanges=frozenset(), scopes=frozenset({"x:y"})
        )
        draft.encrypt_to(ORDERS, key.public)

    key = type(WHO.users_enc).generate()
    client = _next(change).clients[ORDERS]

    assert client.publishes == {"x.v1"}
    assert client.scopes == {"x:y"}
    assert client.enc == key.public
    assert set(client.keys) == {WHO.orders.kid}


def test_what_is_withdrawn_is_no_longer_listed() -> None:
    def withdraw(draft: KeySetDraft) -> None:
        draft.withdraw_client(GATEWAY)
        draft.withdraw_key("issuer", WHO.issuer_retired.kid)

    key_set = _next(withdraw)

    assert GATEWAY not in key_set.clients
    assert key_set.sealing_key(WHO.gateway.kid) is None
    assert WHO.issuer_retired.kid not in key_set.issuer_keys


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda d: d.keys_of("nobody"), id="keys of nobody"),
        pytest.param(lambda d: d.add_next_key("nobody", WHO.stranger.public), id="a key of nobody"),
        pytest.param(lambda d: d.promote("nobody", "x", now=NOW), id="promote nobody's"),
        pytest.param(lambda d: d.promote(GATEWAY, "x", now=NOW), id="promote an unknown key"),
        pytest.param(
            lambda d: d.promote(GATEWAY, WHO.gateway.kid, now=NOW), id="promote an active key"
        ),
        pytest.param(lambda d: d.withdraw_key(GATEWAY, "x"), id="withdraw an unknown key"),
        pytest.param(lambda d: d.withdraw_key(GATEWAY, WHO.orders.kid), id="another's key"),
        pytest.param(lambda d: d.withdraw_client("nobody"), id="withdraw nobody"),
        pytest.param(lambda d: d.withdraw_client("issuer"), id="withdraw the issuer"),
        pytest.param(lambda d: d.encrypt_to("nobody", WHO.users_enc.public), id="write to nobody"),
        pytest.param(
            lambda d: d.grant(
                "nobody", publishes=frozenset(), exchanges=frozenset(), scopes=frozenset()
            ),
            id="grant to nobody",
        ),
    ],
)
def test_a_draft_refuses_to(edit: Callable[[KeySetDraft], object]) -> None:
    draft = WHO.draft()
    before = draft.sign(WHO.root, now=NOW).split(".")[1]

    with pytest.raises(KeySetError):
        edit(draft)

    assert draft.sign(WHO.root, now=NOW).split(".")[1] == before
