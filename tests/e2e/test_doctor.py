"""`carnet doctor`: all that is wrong is found, each with what to do, and nothing is changed."""

import asyncio
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from auth.statement import KeySetDraft
from messaging.findings import Finding, Verdict
from services.authority import Authority
from services.contracts.topology import ORDER_SERVICE, ORDERS_COMMANDS, USER_SERVICE
from services.doctor.examination import examine_stack
from services.local.logins import OPERATOR
from services.local.running import record, told
from services.local.stack import LocalStack
from services.local.trust import make_local_trust
from tests.brokers import Brokers, RunningBroker, VhostBroker
from tests.messaging.raw import raw_channel

CARNET: Final = Path(sys.executable).with_name("carnet")
WITHIN: Final = 120.0
DAY: Final = 24 * 3600

pytestmark = pytest.mark.timeout(300)


def management_url(broker: RunningBroker) -> str:
    operator = broker.operator
    return f"http://{operator.name}:{operator.password}@{broker.host}:{broker.management_port}"


@pytest_asyncio.fixture(scope="module")
async def patient(
    brokers: Brokers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[LocalStack, VhostBroker]]:
    """A fresh local stack on a broker whose management API can be asked."""
    broker = await brokers.any()
    async with broker.stack_vhost() as vhost:
        folder = tmp_path_factory.mktemp("patient")
        async with LocalStack(folder, broker=vhost) as stack:
            yield stack, vhost


async def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """`carnet doctor` as a command: its exit code, and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        str(CARNET),
        "doctor",
        *arguments,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WITHIN):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


Found = dict[tuple[str, str], list[Finding]]


async def examine(
    state: Path, *, management: str | None = None, ahead: float = 0, passphrase: str | None = None
) -> Found:
    """By who is concerned, and by check."""
    reports = await examine_stack(
        state, passphrase=passphrase, management=management, clock=lambda: time.time() + ahead
    )
    found: Found = {}
    for report in reports:
        for finding in report.findings:
            found.setdefault((report.subject, finding.check), []).append(finding)
    return found


def verdicts(found: Found, verdict: Verdict) -> set[tuple[str, str]]:
    return {
        place
        for place, findings in found.items()
        if any(finding.verdict is verdict for finding in findings)
    }


def the_failure(found: Found, subject: str, check: str) -> str:
    """What is said of the one failure there is, which must be this one."""
    assert verdicts(found, Verdict.FAIL) == {(subject, check)}
    (failure,) = [f for f in found[subject, check] if f.verdict is Verdict.FAIL]
    assert len(failure.detail.splitlines()) == 1
    return failure.detail


async def test_a_fresh_stack_passes_and_is_left_as_it_was(
    patient: tuple[LocalStack, VhostBroker],
) -> None:
    stack, vhost = patient

    async def standing() -> dict[str, Any]:
        async with vhost.broker.management() as api:
            definitions = (await api.get(f"/definitions/{vhost.vhost}")).raise_for_status().json()
            queues = (await api.get(f"/queues/{vhost.vhost}")).raise_for_status().json()
        return {
            "queues": sorted(queue["name"] for queue in queues),
            **{
                kind: sorted(map(str, entries))
                for kind, entries in definitions.items()
                if isinstance(entries, list)
            },
        }

    before = await standing()
    code, output, errors = await run(
        "--json",
        CARNET_STATE=str(stack.state),
        CARNET_MANAGEMENT_URL=management_url(vhost.broker),
    )

    assert errors == ""
    answer = json.loads(output)
    assert [f for f in answer["findings"] if f["verdict"] != "ok"] == []
    assert (code, answer["ok"]) == (0, True)
    assert {f["subject"] for f in answer["findings"]} == {"users", "orders", "gateway", "broker"}
    seen = {f["check"] for f in answer["findings"]}
    assert seen >= {"broker version", "clock", "database", "seal key", "key set statement"}
    assert seen >= {"topology", "bindings", "queues", "dead letters", "feed", "health", "settings"}
    assert await standing() == before


async def test_it_is_for_people_too(patient: tuple[LocalStack, VhostBroker]) -> None:
    stack, _ = patient

    code, output, errors = await run("--state", str(stack.state))

    *lines, summary = output.splitlines()
    assert (code, errors) == (0, "")
    assert any(line.startswith("orders   ok   clock ") for line in lines)
    assert any(line.startswith("broker   skip bindings ") for line in lines)  # not asked
    assert summary.startswith("0 in the way, 0 doubtful, ")
    assert summary.endswith(", 1 not looked at")


async def test_one_service_is_examined_by_its_environment(
    patient: tuple[LocalStack, VhostBroker],
) -> None:
    stack, vhost = patient
    settings = told(stack.state, "orders")
    assert settings is not None

    code, output, _ = await run("orders", "--json", **settings)
    operated = await run("orders", "--json", **settings, CARNET_OPERATOR_URL=vhost.url(OPERATOR))

    def of_topology(text: str) -> str:
        answer = json.loads(text)
        assert {f["subject"] for f in answer["findings"]} == {"orders", "broker"}
        assert [f for f in answer["findings"] if f["verdict"] == "fail"] == []
        (found,) = [f["verdict"] for f in answer["findings"] if f["check"] == "topology"]
        return str(found)

    assert (code, operated[0]) == (0, 0)
    assert of_topology(output) == "skip"  # its login may not compare
    assert of_topology(operated[1]) == "ok"


async def test_a_setting_that_is_missing_is_said(patient: tuple[LocalStack, VhostBroker]) -> None:
    stack, _ = patient
    settings = told(stack.state, "orders") or {}
    del settings["CARNET_KEYS"]

    code, output, errors = await run("orders", **settings)

    assert (code, errors) == (1, "")
    assert output.startswith("orders   FAIL settings")
    assert "CARNET_KEYS" in output


async def test_a_dead_letter_that_waits_is_told(patient: tuple[LocalStack, VhostBroker]) -> None:
    stack, vhost = patient
    async with raw_channel(vhost.url(OPERATOR)) as raw:
        await raw.publish("carnet.dead", ORDERS_COMMANDS.dead, b"{}")
        await raw.until_count(ORDERS_COMMANDS.dead, 1)
        found = await examine(stack.state)
        await raw.next(ORDERS_COMMANDS.dead)

    (told_of,) = found["broker", "dead letters"]
    assert told_of.verdict is Verdict.WARN
    assert "orders.commands.dead: 1 wait" in told_of.detail
    assert verdicts(found, Verdict.FAIL) == set()


async def test_a_queue_that_is_declared_otherwise_is_found_while_all_runs(
    patient: tuple[LocalStack, VhostBroker],
) -> None:
    stack, vhost = patient
    (_, dead, *_) = ORDERS_COMMANDS.queues()
    other: dict[str, Any] = {**dead.arguments, "x-delivery-limit": 20}
    right: dict[str, Any] = dict(dead.arguments)
    async with raw_channel(vhost.url(OPERATOR)) as raw:
        for arguments in (other, right):
            await raw.channel.queue_delete(dead.name)
            queue = await raw.channel.declare_queue(dead.name, durable=True, arguments=arguments)
            if arguments is other:
                found = await examine(stack.state, management=management_url(vhost.broker))
            await queue.bind("carnet.dead", dead.name)

    assert verdicts(found, Verdict.FAIL) == {("broker", "topology"), ("broker", "bindings")}
    assert all("x-delivery-limit is 20" in f.detail for f in found["broker", "topology"])
    assert "not bound to carnet.dead" in found["broker", "bindings"][0].detail


@pytest.mark.parametrize(
    ("ahead", "verdict"), [(12.0, Verdict.WARN), (-12.0, Verdict.WARN), (60.0, Verdict.FAIL)]
)
async def test_a_clock_that_is_off_is_found_against_broker_and_issuer(
    patient: tuple[LocalStack, VhostBroker], ahead: float, verdict: Verdict
) -> None:
    stack, _ = patient

    found = await examine(stack.state, ahead=ahead)

    clocks = {("users", "clock"), ("orders", "clock"), ("gateway", "clock"), ("broker", "feed")}
    assert verdicts(found, verdict) == clocks


async def test_services_that_do_not_run_are_told_with_what_follows(
    patient: tuple[LocalStack, VhostBroker],
) -> None:
    stack, _ = patient
    await stack.stop_service("orders")
    await stack.stop_service("users")
    try:
        found = await examine(stack.state)
    finally:
        await stack.start_service("users")
        await stack.start_service("orders")

    assert verdicts(found, Verdict.FAIL) >= {
        ("users", "health"),
        ("orders", "health"),
        ("broker", "feed"),
    }
    assert verdicts(found, Verdict.WARN) == {("broker", "queues")}
    assert "no heartbeat to be believed within 5 s" in found["broker", "feed"][0].detail
    unserved = [f.detail for f in found["broker", "queues"] if f.verdict is Verdict.WARN]
    assert [detail.partition(":")[0] for detail in unserved] == [
        "users.rpc",
        "orders.commands",
        "orders.rpc",
    ]


@pytest.fixture
def stopped(patient: tuple[LocalStack, VhostBroker], tmp_path: Path) -> Path:
    """The state folder of a stack that has run, and stopped."""
    state = tmp_path / "state"
    ignored = shutil.ignore_patterns("run", "lock", "logs")
    shutil.copytree(patient[0].state, state, ignore=ignored)
    return state


async def test_a_stack_that_is_stopped_is_in_order(stopped: Path) -> None:
    digests = _digests(stopped)

    found = await examine(stopped)

    assert verdicts(found, Verdict.FAIL) == set()
    assert verdicts(found, Verdict.WARN) == {("broker", "broker")}
    assert "carnet up" in found["broker", "broker"][0].detail
    assert _digests(stopped) == digests


def _digests(state: Path) -> dict[Path, str]:
    """Of each database, by its file."""
    files = state.rglob("*.db")
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


async def test_a_broker_that_is_down_hinders_no_other_check(stopped: Path) -> None:
    """As after a stack and its broker were killed: what it told its services is still there."""
    down = {"CARNET_AMQP_URL": "amqp://a:b@127.0.0.1:1/"}
    record(stopped, OPERATOR, down)

    code, output, errors = await run("--json", CARNET_STATE=str(stopped))

    assert (code, errors) == (1, "")
    findings = json.loads(output)["findings"]
    failed = {(f["subject"], f["check"]) for f in findings if f["verdict"] == "fail"}
    services = ("users", "orders", "gateway")
    assert failed == {
        *((name, "broker") for name in services),
        *((name, "health") for name in services),
        ("broker", "broker"),
    }
    assert len([f for f in findings if f["check"] == "database" and f["verdict"] == "ok"]) == 3
    assert all("no RabbitMQ answers" in f["detail"] for f in findings if f["check"] == "broker")


def _orders(state: Path) -> Path:
    return state / "keys" / ORDER_SERVICE


def _amend(state: Path, change: Callable[[KeySetDraft], None], life: int = 90 * DAY) -> None:
    authority = Authority(state)
    draft = KeySetDraft.of(authority.latest())
    change(draft)
    authority.publish(draft, now=time.time(), life=life)


def _retire(draft: KeySetDraft) -> None:
    draft.keys_of(ORDER_SERVICE)[0].update(state="retired", retired_at=int(time.time()) - 9)


def _withdraw_issuer_key(draft: KeySetDraft) -> None:
    draft.withdraw_key("issuer", draft.issuer_keys[0]["kid"])


def _move_issuer_key(state: Path) -> None:
    authority = Authority(state)
    kid = KeySetDraft.of(authority.latest()).issuer_keys[0]["kid"]
    (state / "keys" / USER_SERVICE / "issuer" / f"{kid}.pem").rename(state / "elsewhere.pem")


WRONG: Final[dict[str, tuple[Callable[[Path], object], str, str, str]]] = {
    "a key that others may read": (
        lambda state: (_orders(state) / "seal.pem").chmod(0o644),
        *("orders", "seal key", "chmod 600"),
    ),
    "a key that is missing": (
        lambda state: (_orders(state) / "enc.pem").unlink(),
        *("orders", "seal key", "enc.pem"),
    ),
    "somebody else's key": (
        lambda state: shutil.copy(state / "keys/api-gateway/seal.pem", _orders(state)),
        *("orders", "seal key", "carnet trust register"),
    ),
    "a retired key": (
        lambda state: _amend(state, _retire),
        *("orders", "seal key", "which is retired since"),
    ),
    "the issuer's key withdrawn": (
        lambda state: _amend(state, _withdraw_issuer_key),
        *("users", "issuer key", "carnet keys rotate"),
    ),
    "the issuer's key elsewhere": (_move_issuer_key, "users", "issuer key", "put it there"),
    "no database": (
        lambda state: (state / "data/orders.db").unlink(),
        *("orders", "database", "there is no database"),
    ),
    "a database that is none": (
        lambda state: (state / "data/gateway.db").write_text("a list\n" * 2000),
        *("gateway", "database", "no SQLite database"),
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_the_one_failure(stopped: Path, case: str) -> None:
    change, subject, check, hint = WRONG[case]
    change(stopped)

    found = await examine(stopped)

    assert hint in the_failure(found, subject, check)


async def test_a_statement_that_is_forged_fails_wherever_it_is_read(stopped: Path) -> None:
    statement = (stopped / "key-set.jwt").read_text().strip()
    (stopped / "key-set.jwt").write_text(f"{statement[:-8]}AAAAAAA{statement[-1]}")

    found = await examine(stopped)

    assert verdicts(found, Verdict.FAIL) == {
        (name, "key set statement") for name in ("users", "orders", "gateway")
    }


async def test_a_statement_near_its_end_is_told(stopped: Path) -> None:
    _amend(stopped, lambda _draft: None, life=20 * DAY)

    found = await examine(stopped)

    assert verdicts(found, Verdict.WARN) == {
        ("broker", "broker"),
        *((name, "key set statement") for name in ("users", "orders", "gateway")),
    }


async def test_a_folder_in_which_nothing_ran_is_said_in_one_line(tmp_path: Path) -> None:
    code, output, errors = await run("--state", str(tmp_path))

    assert (code, output) == (1, "")
    assert errors.startswith(f"carnet: {tmp_path}: no stack has run in this folder")
    assert len(errors.splitlines()) == 1


async def test_a_stack_that_never_started_is_told_what_is_missing(tmp_path: Path) -> None:
    make_local_trust(tmp_path)

    found = await examine(tmp_path)

    assert verdicts(found, Verdict.FAIL) == {
        ("users", "database"),
        ("users", "issuer key"),
        ("orders", "database"),
        ("gateway", "database"),
    }


async def test_keys_at_rest_are_opened_by_the_passphrase_of_the_environment(tmp_path: Path) -> None:
    make_local_trust(tmp_path, b"correct horse")

    locked = await examine(tmp_path)
    opened = await examine(tmp_path, passphrase="correct horse")

    assert ("orders", "seal key") in verdicts(locked, Verdict.FAIL)
    assert ("orders", "seal key") in verdicts(opened, Verdict.OK)


async def test_what_a_stack_has_told_is_closed_to_others(
    patient: tuple[LocalStack, VhostBroker],
) -> None:
    folder = patient[0].state / "run"

    files = sorted(folder.iterdir())

    assert [file.stem for file in files] == ["gateway", "operator", "orders", "users"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_no_passphrase_is_written(tmp_path: Path) -> None:
    record(tmp_path, "orders", {"CARNET_KEY_PASSPHRASE": "secret", "CARNET_PORT": "1", "HOME": "/"})

    assert told(tmp_path, "orders") == {"CARNET_PORT": "1"}
