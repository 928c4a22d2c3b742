"""`carnet trust`: every statement is the verified successor of another, and keys stay."""

import json
import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from auth.errors import KeyFileError, KeySetError
from auth.keys import SigningKey
from auth.keyset import KeySet, TrustRoot
from auth.statement import KeySetDraft
from auth.trust import FixedTrust
from services.authority import Authority
from services.cli.trust import app
from services.contracts.clients import CLIENTS
from services.errors import StartError
from services.identity import RotatingSealer
from services.keyring import ISSUER, Keyring
from services.local.trust import make_local_trust

DAY = 24 * 3600


class Operator:
    """Somebody with a state folder who types `carnet trust …`."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def run(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [*map(str, arguments), "--state", str(self.state)])

    def does(self, *arguments: str | Path) -> KeySet:
        """Run a command that must succeed; the statement that is there then."""
        result = self.run(*arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        return self.key_set()

    def fails(self, *arguments: str | Path) -> Exception:
        """Run a command that must fail without changing the statement."""
        before = self.statement()
        result = self.run(*arguments)
        assert self.statement() == before
        assert isinstance(result.exception, Exception), result.output
        return result.exception

    def statement(self) -> str | None:
        path = self.state / "key-set.jwt"
        return path.read_text() if path.exists() else None

    def key_set(self) -> KeySet:
        root = TrustRoot.from_json((self.state / "trust-root.json").read_bytes())
        return root.verify((self.state / "key-set.jwt").read_text(), now=time.time())


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "state")


@pytest.fixture
def ready(operator: Operator) -> Operator:
    """An operator whose trust root is made."""
    operator.does("init")
    return operator


def public_jwk(folder: Path, name: str = "seal") -> Path:
    path = folder / f"{name}.jwk"
    path.write_text(json.dumps(SigningKey.generate().public.to_jwk()))
    return path


def states(key_set: KeySet, owner: str) -> list[str]:
    keys = key_set.issuer_keys if owner == ISSUER else key_set.clients[owner].keys
    return [listed.state for listed in keys.values()]


def test_init_makes_a_root_that_only_its_owner_reads_and_a_believed_statement(
    operator: Operator,
) -> None:
    key_set = operator.does("init")

    root = operator.state / "root"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "root.pem").stat().st_mode) == 0o600
    assert key_set.version == 1
    assert states(key_set, ISSUER) == ["active", "next"]
    assert key_set.clients == {}


def test_init_lists_the_issuers_key_that_is_kept_elsewhere(
    operator: Operator, tmp_path: Path
) -> None:
    key = public_jwk(tmp_path, "issuer")

    key_set = operator.does("init", "--issuer-key", key)

    assert list(key_set.issuer_keys) == [json.loads(key.read_text())["kid"]]
    assert not (operator.state / "keys").exists()


def test_a_root_is_never_overwritten(ready: Operator) -> None:
    key = (ready.state / "root/root.pem").read_bytes()

    assert isinstance(ready.fails("init"), StartError)

    assert (ready.state / "root/root.pem").read_bytes() == key


def test_an_encrypted_root_signs_only_with_its_passphrase(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("tea at four\n")
    monkeypatch.setenv("CARNET_ROOT_PASSPHRASE_FILE", str(secret))
    operator.does("init")
    assert b"ENCRYPTED" in (operator.state / "root/root.pem").read_bytes()
    assert operator.does("sign").version == 2

    secret.write_text("tea at five")
    assert isinstance(operator.fails("sign"), KeyFileError)
    monkeypatch.delenv("CARNET_ROOT_PASSPHRASE_FILE")
    assert isinstance(operator.fails("sign"), KeyFileError)


def test_a_service_of_the_system_is_registered_with_what_it_needs(ready: Operator) -> None:
    key_set = ready.does("register", "api-gateway")

    client = key_set.clients["api-gateway"]
    assert client.publishes == CLIENTS["api-gateway"].publishes
    assert client.exchanges == {"order-service"}
    assert client.enc is not None
    assert (ready.state / "keys/api-gateway/seal.pem").exists()
    assert key_set.version == 2


def test_a_client_is_registered_with_its_public_keys_and_what_is_named(
    ready: Operator, tmp_path: Path
) -> None:
    seal, enc = tmp_path / "private/seal.pem", tmp_path / "private/enc.pem"
    jwk, enc_jwk = tmp_path / "seal.jwk", tmp_path / "enc.jwk"
    for arguments, out in ((["key", str(seal)], jwk), (["key", str(enc), "--enc"], enc_jwk)):
        out.write_text(CliRunner().invoke(app, arguments).output)

    rights = ("--publishes", "a.v1", "--publishes", "b.v1", "--exchanges", "order-service")
    key_set = ready.does(
        "register", "reports", *rights, "--scopes", "orders:read", "--key", jwk, "--enc", enc_jwk
    )

    client = key_set.clients["reports"]
    assert list(client.keys) == [SigningKey.load(seal).kid]
    assert client.enc is not None
    assert client.publishes == {"a.v1", "b.v1"}
    assert client.exchanges == {"order-service"}
    assert client.scopes == {"orders:read"}
    assert not (ready.state / "keys/reports").exists()


def test_a_client_is_not_registered_twice(ready: Operator, tmp_path: Path) -> None:
    ready.does("register", "reports", "--key", public_jwk(tmp_path))

    error = ready.fails("register", "reports", "--key", public_jwk(tmp_path))

    assert isinstance(error, KeySetError)


def test_a_key_that_somebody_else_has_is_not_listed_again(ready: Operator, tmp_path: Path) -> None:
    key = public_jwk(tmp_path)
    ready.does("register", "reports", "--key", key)

    assert isinstance(ready.fails("register", "invoices", "--key", key), KeySetError)


def test_an_event_has_one_client_that_may_record_it(ready: Operator, tmp_path: Path) -> None:
    """A command may come from several; of two that may record an event, neither is believed."""
    ready.does("register", "order-service")
    key = public_jwk(tmp_path)

    error = ready.fails("register", "ledger", "--publishes", "orders.placed.v1", "--key", key)

    assert str(error) == (
        "key_set: orders.placed.v1 is an event, which one client alone records; "
        "order-service does already"
    )
    ready.does("register", "api-gateway")
    ready.does("register", "ledger", "--publishes", "orders.place.v1", "--key", key)
    ready.does("withdraw", "order-service")
    key = public_jwk(tmp_path, "other")
    ready.does("register", "history", "--publishes", "orders.placed.v1", "--key", key)


def test_a_private_key_is_refused_where_a_public_one_is_wanted(
    ready: Operator, tmp_path: Path
) -> None:
    private = tmp_path / "seal.pem"
    SigningKey.generate().save(private, None)

    assert isinstance(ready.fails("register", "reports", "--key", private), KeyFileError)


@pytest.mark.parametrize("name", ["issuer", "Reports", "service:x", "../x", ""])
def test_a_name_that_no_client_can_have_is_refused(ready: Operator, name: str) -> None:
    result = ready.run("register", name)

    assert result.exit_code == 2
    assert ready.key_set().version == 1


def test_the_issuer_rotates_to_the_key_that_was_listed_before(ready: Operator) -> None:
    first, second = ready.key_set().issuer_keys

    key_set = ready.does("rotate", "issuer", "--grace", "0")

    assert key_set.issuer_keys[second].state == "active"
    assert key_set.issuer_keys[first].state == "retired"
    assert not key_set.issuer_keys[first].signed_in_time(int(time.time()) + 1)
    assert states(ready.does("rotate", "issuer"), ISSUER) == ["retired", "active", "next"]


def test_the_issuer_gets_a_stock_of_next_keys(ready: Operator) -> None:
    """As many as are wanted, with those that are listed already; nothing is promoted."""
    key_set = ready.does("rotate", "issuer", "--ahead", "3")

    assert states(key_set, ISSUER) == ["active", "next", "next", "next"]
    kept = {key.kid for key in Keyring(ready.state / "keys", None).issuer()}
    assert set(key_set.issuer_keys) == kept
    assert states(ready.does("rotate", "issuer", "--ahead", "2"), ISSUER) == states(key_set, ISSUER)


@pytest.mark.parametrize(
    "arguments", [("api-gateway", "--ahead", "2"), ("issuer", "--ahead", "2", "--key", "k.jwk")]
)
def test_a_stock_is_for_the_issuer_whose_keys_are_made_here(
    ready: Operator, arguments: tuple[str, ...]
) -> None:
    assert ready.run("rotate", *arguments).exit_code == 2
    assert ready.key_set().version == 1


def test_the_old_key_may_sign_on_within_the_grace(ready: Operator) -> None:
    first, _ = ready.key_set().issuer_keys

    key_set = ready.does("rotate", "issuer", "--grace", "600")

    assert key_set.issuer_keys[first].signed_in_time(int(time.time()) + 500)


def test_a_client_whose_keys_are_kept_here_rotates_in_two_steps(ready: Operator) -> None:
    ready.does("register", "order-service")
    folder = ready.state / "keys/order-service"
    old = SigningKey.load(folder / "seal.pem").kid

    assert states(ready.does("rotate", "order-service"), "order-service") == ["active", "next"]
    assert SigningKey.load(folder / "seal.pem").kid == old

    key_set = ready.does("rotate", "order-service")
    new = SigningKey.load(folder / "seal.pem").kid
    assert key_set.clients["order-service"].keys[new].state == "active"
    assert key_set.clients["order-service"].keys[old].state == "retired"
    assert SigningKey.load(folder / f"seal.{old}.pem").kid == old


def test_a_client_whose_keys_are_elsewhere_rotates_by_its_public_key(
    ready: Operator, tmp_path: Path
) -> None:
    ready.does("register", "reports", "--key", public_jwk(tmp_path))
    assert isinstance(ready.fails("rotate", "reports"), StartError)

    ready.does("rotate", "reports", "--key", public_jwk(tmp_path, "next"))

    assert states(ready.does("rotate", "reports"), "reports") == ["retired", "active"]


def test_a_withdrawn_client_is_listed_no_more(ready: Operator) -> None:
    ready.does("register", "api-gateway")

    assert ready.does("withdraw", "api-gateway").clients == {}


def test_a_withdrawn_key_is_listed_no_more(ready: Operator) -> None:
    first, second = ready.key_set().issuer_keys

    assert list(ready.does("withdraw", "issuer", "--kid", first).issuer_keys) == [second]


def test_a_withdrawn_client_comes_back_with_new_keys(ready: Operator) -> None:
    before = ready.does("register", "api-gateway").clients["api-gateway"]
    home = ready.state / "keys/api-gateway"

    ready.does("withdraw", "api-gateway")
    assert list(home.glob("*.pem")) == []
    after = ready.does("register", "api-gateway").clients["api-gateway"]

    assert before.keys.keys().isdisjoint(after.keys)
    assert before.enc is not None
    assert after.enc is not None
    assert before.enc.kid != after.enc.kid
    assert len(list(home.glob("*.withdrawn"))) == 2


def test_who_has_lost_its_only_key_gets_another_in_two_steps(ready: Operator) -> None:
    [old] = ready.does("register", "api-gateway").clients["api-gateway"].keys
    ready.does("withdraw", "api-gateway", "--kid", old)

    ready.does("rotate", "api-gateway")
    ready.does("rotate", "api-gateway")

    assert states(ready.key_set(), "api-gateway") == ["active"]
    [new] = ready.key_set().clients["api-gateway"].keys
    assert SigningKey.load(ready.state / "keys/api-gateway/seal.pem").kid == new


def test_a_service_starts_with_another_key_file_where_its_first_was_set_aside(
    ready: Operator,
) -> None:
    [old] = ready.does("register", "api-gateway").clients["api-gateway"].keys
    home = ready.state / "keys/api-gateway"
    jwk = ready.state / "next.jwk"
    jwk.write_text(CliRunner().invoke(app, ["key", str(home / "seal.2.pem")]).output)
    ready.does("rotate", "api-gateway", "--key", jwk)
    ready.does("rotate", "api-gateway")
    ready.does("withdraw", "api-gateway", "--kid", old)

    sealer = RotatingSealer("api-gateway", home, None)
    sealer.follow(FixedTrust(ready.key_set()))

    assert sealer.signing_key().kid == SigningKey.load(home / "seal.2.pem").kid


def test_a_withdrawn_key_is_set_aside_and_no_other(ready: Operator) -> None:
    [old] = ready.does("register", "api-gateway").clients["api-gateway"].keys
    ready.does("rotate", "api-gateway")
    ready.does("rotate", "api-gateway")

    ready.does("withdraw", "api-gateway", "--kid", old)
    home = ready.state / "keys/api-gateway"
    assert sorted(path.name for path in home.glob("*.pem")) == ["enc.pem", "seal.pem"]
    [aside] = home.glob("*.withdrawn")
    assert SigningKey.load(aside).kid == old

    first, _ = ready.key_set().issuer_keys
    ready.does("withdraw", "issuer", "--kid", first)
    assert not (ready.state / f"keys/user-service/issuer/{first}.pem").exists()


def test_a_local_trust_does_not_list_a_withdrawn_key_again(tmp_path: Path) -> None:
    make_local_trust(tmp_path)
    operator = Operator(tmp_path)
    [old] = operator.key_set().clients["order-service"].keys

    operator.does("withdraw", "order-service", "--kid", old)
    make_local_trust(tmp_path)

    assert old not in operator.key_set().clients["order-service"].keys
    assert "active" in states(operator.key_set(), "order-service")


def test_the_issuer_keeps_one_key_at_least(ready: Operator) -> None:
    first, second = ready.key_set().issuer_keys
    ready.does("withdraw", "issuer", "--kid", first)

    assert isinstance(ready.fails("withdraw", "issuer", "--kid", second), KeySetError)


def test_the_issuer_is_not_withdrawn_as_a_whole(ready: Operator) -> None:
    assert ready.run("withdraw", "issuer").exit_code == 2
    assert ready.key_set().version == 1


def test_who_has_no_active_key_left_is_told(ready: Operator) -> None:
    first, _ = ready.key_set().issuer_keys

    assert "no active key" in ready.run("withdraw", "issuer", "--kid", first).output


@pytest.mark.parametrize("arguments", [("withdraw", "nobody"), ("rotate", "nobody")])
def test_a_party_that_is_not_listed_cannot_be_changed(
    ready: Operator, arguments: tuple[str, ...]
) -> None:
    assert isinstance(ready.fails(*arguments), KeySetError)


def test_sign_makes_the_next_version_with_the_same_content(ready: Operator) -> None:
    ready.does("register", "api-gateway")
    before = ready.key_set()

    after = ready.does("sign", "--days", "40")

    assert after.version == before.version + 1
    assert after.clients == before.clients
    assert after.expires_at - after.issued_at == 40 * DAY


def test_an_expired_statement_is_not_shown_as_good_and_can_be_signed_anew(
    ready: Operator,
) -> None:
    authority = Authority(ready.state)
    draft = KeySetDraft.of(authority.latest())
    authority.publish(draft, now=time.time() - 2 * DAY, life=DAY)
    assert isinstance(ready.fails("show"), KeySetError)

    assert ready.does("sign").version == draft.version + 1


def test_a_statement_of_another_root_is_neither_shown_nor_signed(
    ready: Operator, tmp_path: Path
) -> None:
    stranger = Operator(tmp_path / "stranger")
    stranger.does("init")
    (ready.state / "key-set.jwt").write_text(stranger.statement() or "")

    assert isinstance(ready.fails("show"), KeySetError)
    assert isinstance(ready.fails("sign"), KeySetError)


@pytest.mark.parametrize("statement", ["", "x", "a.b.c", "é"])
def test_a_file_that_is_no_statement_is_not_signed(ready: Operator, statement: str) -> None:
    (ready.state / "key-set.jwt").write_text(statement)

    assert isinstance(ready.fails("sign"), KeySetError)


def test_without_a_root_nothing_is_signed_and_nothing_made(operator: Operator) -> None:
    assert isinstance(operator.fails("sign"), StartError)

    assert not operator.state.exists()


def test_show_names_the_issuer_the_clients_and_the_end(ready: Operator) -> None:
    key_set = ready.does("register", "api-gateway")

    output = ready.run("show").output

    assert "version 2" in output
    assert "orders.place.v1" in output
    shown = json.loads(ready.run("show", "--json").output)
    assert shown["version"] == 2
    assert [key["kid"] for key in shown["issuer"]["keys"]] == list(key_set.issuer_keys)
    assert shown["clients"]["api-gateway"]["exchanges"] == ["order-service"]


def test_show_says_when_the_statement_ends_soon(ready: Operator) -> None:
    assert "carnet trust sign" not in ready.run("show").stderr

    ready.does("sign", "--days", "20")

    assert "carnet trust sign" in ready.run("show").stderr


def test_a_statement_that_cannot_be_replaced_leaves_nothing_behind(ready: Operator) -> None:
    authority = Authority(ready.state)
    draft = KeySetDraft.of(authority.latest())
    (ready.state / "key-set.jwt").unlink()
    (ready.state / "key-set.jwt/in the way").mkdir(parents=True)

    with pytest.raises(StartError):
        authority.publish(draft, now=time.time())
    with pytest.raises(StartError):
        authority.latest()

    assert sorted(path.name for path in ready.state.iterdir()) == [
        "key-set.jwt",
        "keys",
        "root",
        "trust-root.json",
    ]


def test_key_makes_a_key_once_and_reads_it_again(tmp_path: Path) -> None:
    first = CliRunner().invoke(app, ["key", str(tmp_path / "a.pem"), "--algorithm", "EdDSA"])
    second = CliRunner().invoke(app, ["key", str(tmp_path / "a.pem")])

    assert json.loads(first.output)["alg"] == "EdDSA"
    assert second.output == first.output
    assert "d" not in json.loads(first.output)


def test_a_local_trust_has_all_services_with_keys_that_are_there(tmp_path: Path) -> None:
    make_local_trust(tmp_path)

    key_set = Operator(tmp_path).key_set()
    assert set(key_set.clients) == set(CLIENTS)
    keyring = Keyring(tmp_path / "keys", None)
    for client_id, client in key_set.clients.items():
        assert list(client.keys) == [keyring.seal(client_id).kid]
        assert client.enc == keyring.encryption(client_id).public
    assert {key.kid for key in keyring.issuer()} == set(key_set.issuer_keys)


def test_making_a_local_trust_again_changes_nothing(tmp_path: Path) -> None:
    make_local_trust(tmp_path, b"tea at four")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    make_local_trust(tmp_path, b"tea at four")

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_every_private_key_of_a_local_trust_is_closed_to_others(tmp_path: Path) -> None:
    make_local_trust(tmp_path)

    keys = list(tmp_path.rglob("*.pem"))
    assert len(keys) == 11
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


@pytest.mark.parametrize(("days_left", "version"), [(31, 1), (29, 2), (-1, 2)])
def test_a_local_statement_is_signed_anew_in_time(
    tmp_path: Path, days_left: int, version: int
) -> None:
    make_local_trust(tmp_path)
    authority = Authority(tmp_path)
    draft = KeySetDraft.of(authority.latest())
    draft.version = 1
    authority.publish(draft, now=time.time() + (days_left - 90) * DAY)

    make_local_trust(tmp_path)

    assert Operator(tmp_path).key_set().version == version


def test_a_local_statement_follows_what_the_services_need(tmp_path: Path) -> None:
    make_local_trust(tmp_path)
    authority = Authority(tmp_path)
    draft = KeySetDraft.of(authority.latest())
    nothing: frozenset[str] = frozenset()
    draft.grant("api-gateway", publishes=nothing, exchanges=nothing, scopes=nothing)
    authority.publish(draft, now=time.time())

    make_local_trust(tmp_path)

    key_set = Operator(tmp_path).key_set()
    assert key_set.version == 3
    assert key_set.clients["api-gateway"].publishes == CLIENTS["api-gateway"].publishes


def test_a_lost_public_half_of_a_local_root_is_made_again(tmp_path: Path) -> None:
    make_local_trust(tmp_path)
    public = (tmp_path / "trust-root.json").read_bytes()
    (tmp_path / "trust-root.json").unlink()

    make_local_trust(tmp_path)

    assert (tmp_path / "trust-root.json").read_bytes() == public
    assert Operator(tmp_path).key_set().version == 1


def test_lost_keys_of_a_local_trust_are_replaced(tmp_path: Path) -> None:
    make_local_trust(tmp_path)
    for path in (tmp_path / "keys").rglob("*.pem"):
        path.unlink()

    make_local_trust(tmp_path)

    key_set = Operator(tmp_path).key_set()
    keyring = Keyring(tmp_path / "keys", None)
    (active,) = (k for k, listed in key_set.issuer_keys.items() if listed.state == "active")
    assert active in {key.kid for key in keyring.issuer()}
    seal = keyring.seal("order-service").kid
    assert key_set.clients["order-service"].keys[seal].state == "active"


def test_a_local_trust_does_not_start_with_another_passphrase(tmp_path: Path) -> None:
    make_local_trust(tmp_path, b"tea at four")

    with pytest.raises(KeyFileError):
        make_local_trust(tmp_path, b"tea at five")


SERVICE = Path(__file__).parents[2] / "examples" / "billing" / "service.toml"


def test_a_service_of_one_s_own_is_registered_with_what_it_declares(
    ready: Operator, tmp_path: Path
) -> None:
    ready.does("register", "api-gateway")

    key_set = ready.does("register", "billing", "--service", SERVICE, "--key", public_jwk(tmp_path))

    billing, gateway = key_set.clients["billing"], key_set.clients["api-gateway"]
    assert billing.publishes >= {"billing.refunded.v1", "orders.cancel.v1", "users.exchange.v1"}
    assert billing.exchanges == {"order-service"}
    assert billing.scopes == frozenset()
    usual = CLIENTS["api-gateway"]
    assert gateway.publishes == usual.publishes | {"billing.refund.v1"}
    assert gateway.exchanges == usual.exchanges | {"billing"}
    assert states(key_set, "api-gateway") == ["active"]


@pytest.mark.parametrize(
    "arguments",
    [("bookings", "--service", SERVICE), ("billing", "--service", SERVICE, "--scopes", "x:y")],
    ids=["another's", "rights beside"],
)
def test_a_declaration_is_of_one_client_and_whole(
    ready: Operator, arguments: tuple[str | Path, ...]
) -> None:
    assert ready.run("register", *arguments).exit_code == 2
    assert "billing" not in ready.key_set().clients


def test_a_client_that_is_listed_may_be_given_more(ready: Operator) -> None:
    before = ready.does("register", "order-service")
    given = ("--publishes", "billing.bill.v1", "--exchanges", "billing", "--scopes", "billing:bill")

    after = ready.does("grant", "order-service", *given)

    was, now = before.clients["order-service"], after.clients["order-service"]
    assert now.publishes == was.publishes | {"billing.bill.v1"}
    assert now.exchanges == {"billing"}
    assert now.scopes == {"billing:bill"}
    assert now.keys.keys() == was.keys.keys()
    # Its own event it may have again.
    assert ready.does("grant", "order-service", "--publishes", "orders.placed.v1") is not None


@pytest.mark.parametrize(
    "arguments",
    [
        ("nobody", "--publishes", "x.y.v1"),
        ("api-gateway", "--publishes", "orders.placed.v1"),
    ],
    ids=["no client", "another's event"],
)
def test_more_is_not_given_of(ready: Operator, arguments: tuple[str, ...]) -> None:
    ready.does("register", "order-service")
    ready.does("register", "api-gateway")

    assert isinstance(ready.fails("grant", *arguments), KeySetError)


@pytest.mark.parametrize(
    "arguments",
    [
        ("register", "reports", "--scopes", "orders:read"),
        ("rotate", "issuer", "--ahead", "3"),
        ("sign", "--days", "30"),
    ],
)
def test_a_change_is_told_to_programs(ready: Operator, arguments: tuple[str, ...]) -> None:
    told = json.loads(ready.run(*arguments, "--json").stdout)

    key_set = ready.key_set()
    assert (told["version"], told["exp"]) == (key_set.version, key_set.expires_at)
    assert told["done"][0]


def test_keys_that_were_set_aside_are_told_to_programs(ready: Operator) -> None:
    ready.does("register", "reports", "--scopes", "orders:read")

    told = json.loads(ready.run("withdraw", "reports", "--json").stdout)

    assert told["done"][0] == "withdrew reports"
    assert [line.partition(" /")[0] for line in told["done"][1:]] == ["set aside"] * 2
