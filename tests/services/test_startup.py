"""What a service looks at before it starts: settings, key folder, seal key, statement."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from auth.keyset import KeySet
from auth.statement import KeySetDraft
from messaging.findings import Finding, Verdict, fail, ok, warn
from services.authority import Authority
from services.contracts.topology import ORDER_SERVICE
from services.errors import StartCheckError
from services.gateway.settings import GatewaySettings
from services.identity import Identity, load_identity, load_key_set
from services.local.trust import make_local_trust
from services.orders.settings import OrderSettings
from services.settings import ServiceSettings
from services.startup import (
    examine_key_folder,
    examine_seal_key,
    examine_settings,
    examine_statement,
    require,
    require_standing,
)
from services.users.settings import UserSettings

DAY: Final = 24 * 3600


@pytest.fixture
def state(tmp_path: Path) -> Path:
    make_local_trust(tmp_path)
    return tmp_path


def settings_in(state: Path, kind: type[ServiceSettings] = OrderSettings, **changes: Any) -> Any:
    return kind(
        amqp_url=changes.pop("amqp_url", SecretStr("amqp://a:b@127.0.0.1/")),
        trust_root=state / "trust-root.json",
        key_set=state / "key-set.jwt",
        trust_state=state / "trust",
        keys=state / "keys" / ORDER_SERVICE,
        database_url=SecretStr("sqlite+aiosqlite:///nowhere.db"),
        port=8000,
        **changes,
    )


def amended(state: Path, change: Callable[[KeySetDraft, str], None], **sign: Any) -> KeySet:
    """The next statement; `change` gets the draft and the id of the order service's seal key."""
    authority, now = Authority(state), time.time()
    draft = KeySetDraft.of(authority.latest())
    change(draft, draft.keys_of(ORDER_SERVICE)[0]["kid"])
    return authority.publish(draft, now=now, **sign)


def examined(state: Path, key_set: KeySet, *, now: float | None = None) -> Finding:
    identity = identity_in(state, key_set)
    return examine_seal_key(identity, key_set, now=time.time() if now is None else now)


def identity_in(state: Path, key_set: KeySet) -> Identity:
    return load_identity(ORDER_SERVICE, settings_in(state), key_set)


def retire(after: float) -> Callable[[KeySetDraft, str], None]:
    """Another key becomes the active one, kept elsewhere."""

    def change(draft: KeySetDraft, kid: str) -> None:
        for key in draft.keys_of(ORDER_SERVICE):
            if key["kid"] == kid:
                key.update(state="retired", retired_at=int(time.time() + after))

    return change


def only_next(draft: KeySetDraft, _kid: str) -> None:
    for key in draft.keys_of(ORDER_SERVICE):
        key["state"] = "next"


def test_what_is_doubtful_is_logged_and_what_is_wrong_ends_the_start() -> None:
    findings = [
        ok("broker version", "RabbitMQ 4.3.6"),
        warn("clock", "this machine's clock is 9 s ahead"),
        fail("seal key", "is retired"),
    ]

    with capture_logs() as logs, pytest.raises(StartCheckError, match="is retired") as caught:
        require(findings)

    assert caught.value.code == "start_check"
    assert logs == [
        {
            "event": "start_doubtful",
            "log_level": "warning",
            "check": "clock",
            "detail": "this machine's clock is 9 s ahead",
        }
    ]


def test_the_active_key_is_in_order(state: Path) -> None:
    key_set = load_key_set(settings_in(state), now=time.time())

    assert examined(state, key_set).verdict is Verdict.OK


def test_a_retired_key_ends_the_start_and_one_in_its_grace_does_not(state: Path) -> None:
    key_set = amended(state, retire(after=60))

    in_grace, later = examined(state, key_set), examined(state, key_set, now=time.time() + 61)

    assert in_grace.verdict is Verdict.WARN
    assert "only until" in in_grace.detail
    assert later.verdict is Verdict.FAIL
    assert "which is retired since" in later.detail
    assert "carnet trust show" in later.detail


def test_a_key_that_is_only_to_come_is_told(state: Path) -> None:
    found = examined(state, amended(state, only_next))

    assert found.verdict is Verdict.WARN
    assert f"carnet trust rotate {ORDER_SERVICE}" in found.detail


def test_a_service_whose_key_is_retired_does_not_start(state: Path) -> None:
    key_set = amended(state, retire(after=-1))

    with pytest.raises(StartCheckError, match="retired since"):
        require_standing(settings_in(state), identity_in(state, key_set), key_set, now=time.time())


@pytest.mark.parametrize(
    ("days_left", "verdict"), [(90, Verdict.OK), (31, Verdict.OK), (29, Verdict.WARN)]
)
def test_a_statement_near_its_end_is_told(state: Path, days_left: int, verdict: Verdict) -> None:
    key_set = amended(state, lambda _draft, _kid: None, life=days_left * DAY)

    found = examine_statement(key_set, now=time.time())

    assert found.verdict is verdict
    assert f"version 2, believed for another {days_left} days" in found.detail
    assert ("carnet trust sign" in found.detail) is (verdict is Verdict.WARN)


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [
        (0o700, Verdict.OK),
        (0o755, Verdict.OK),
        (0o770, Verdict.WARN),
        (0o707, Verdict.WARN),
    ],
)
def test_a_key_folder_that_others_may_write_is_told(
    state: Path, mode: int, verdict: Verdict
) -> None:
    settings = settings_in(state)
    settings.keys.chmod(mode)

    found = examine_key_folder(settings)

    assert found.verdict is verdict
    assert ("chmod go-w" in found.detail) is (verdict is Verdict.WARN)


DOUBTS: Final[dict[str, tuple[type[ServiceSettings], dict[str, Any], str]]] = {
    "impatient": (OrderSettings, {"trust_max_silence": 2.5}, "one that is late stops everything"),
    "too patient": (OrderSettings, {"trust_max_silence": 300}, "not hear of a revocation"),
    "in the clear": (
        OrderSettings,
        {"amqp_url": SecretStr("amqp://a:secret@broker.example/")},
        "use amqps://",
    ),
    "idle hands": (OrderSettings, {"prefetch": 10, "concurrency": 11}, "CARNET_PREFETCH=10"),
    "endless sessions": (
        UserSettings,
        {"session_life": 60, "session_idle": 61},
        "CARNET_SESSION_IDLE is longer",
    ),
    "tokens in the clear": (
        GatewaySettings,
        {"public_url": "http://shop.example"},
        "let it be an https:// address",
    ),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_settings_that_can_hardly_be_meant_are_told(state: Path, case: str) -> None:
    kind, changes, said = DOUBTS[case]

    (found,) = examine_settings(settings_in(state, kind, **changes))

    assert found.verdict is Verdict.WARN
    assert said in found.detail
    assert "secret" not in found.detail


@pytest.mark.parametrize("kind", [OrderSettings, UserSettings, GatewaySettings])
@pytest.mark.parametrize(
    "url", ["amqp://a:b@127.0.0.1/", "amqp://a:b@localhost/", "amqps://a:b@broker.example/"]
)
def test_settings_as_they_are_by_default_are_in_order(
    state: Path, kind: type[ServiceSettings], url: str
) -> None:
    (found,) = examine_settings(settings_in(state, kind, amqp_url=SecretStr(url)))

    assert found.verdict is Verdict.OK


def test_a_replica_may_be_given_some_shards(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARNET_ORDERS_SHARD", "0-2, 5,4-4")

    assert settings_in(state, orders_shards=8).orders_shard == (0, 1, 2, 4, 5)


@pytest.mark.parametrize(
    ("named", "shards"),
    [("0", 1), ("4", 4), ("2-4", 4), ("one", 4), ("-1", 4), ("1-1000000", 4), ("3-1", 4)],
)
def test_a_replica_cannot_be_given_a_shard_that_there_is_not(
    state: Path, monkeypatch: pytest.MonkeyPatch, named: str, shards: int
) -> None:
    monkeypatch.setenv("CARNET_ORDERS_SHARD", named)

    with pytest.raises(ValidationError, match=r"no such shard|has the form"):
        settings_in(state, orders_shards=shards)
