"""`carnet doctor` on a stack with a service of one's own: it is examined like the others."""

import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from messaging.findings import Verdict
from services.declared import DECLARED, read_all_declared
from services.local.logins import OPERATOR
from services.local.running import told
from services.local.stack import LocalStack
from services.local.trust import make_local_trust
from tests.brokers import Brokers, VhostBroker
from tests.e2e.test_doctor import examine, management_url, run, the_failure, verdicts
from tests.messaging.raw import raw_channel
from tests.own_service import BILLING, TEXT, billing, declare

NAME: Final = BILLING.client
QUEUE: Final = BILLING.queue.name

pytestmark = pytest.mark.timeout(300)

Patient = tuple[LocalStack, VhostBroker]


@pytest_asyncio.fixture(scope="module")
async def patient(
    brokers: Brokers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Patient]:
    """A local stack that knows the example's service, which does not run."""
    state = tmp_path_factory.mktemp("patient")
    declare(state)
    broker = await brokers.any()
    async with (
        broker.stack_vhost(declared=(BILLING,)) as vhost,
        LocalStack(state, broker=vhost) as stack,
    ):
        async with billing(stack):  # has run once: its database is there
            pass
        yield stack, vhost


async def test_a_service_that_runs_is_in_order(patient: Patient) -> None:
    stack, vhost = patient
    async with billing(stack):
        found = await examine(stack.state, management=management_url(vhost.broker))
        settings = told(stack.state, NAME) or {}
        code, output, errors = await run(NAME, "--json", **settings)
        operated = await run(NAME, "--json", **settings, CARNET_OPERATOR_URL=vhost.url(OPERATOR))

    assert verdicts(found, Verdict.FAIL) == verdicts(found, Verdict.WARN) == set()
    checks = {check for subject, check in found if subject == NAME}
    assert checks >= {"listing", "seal key", "key set statement", "database", "health", "clock"}
    assert f"{QUEUE}: 0 wait, 1 consume" in {f.detail for f in found["broker", "queues"]}
    assert f"{QUEUE}.dead: 0 wait" in {f.detail for f in found["broker", "dead letters"]}
    assert (code, errors) == (0, "")
    assert {f["subject"] for f in json.loads(output)["findings"]} == {NAME, "broker"}
    queues = [f["detail"] for f in json.loads(output)["findings"] if f["check"] == "queues"]
    assert queues == [f"{QUEUE}: 0 wait, 1 consume"]  # as its own login sees it
    assert operated[0] == 0
    assert "orders.commands: 0 wait" in operated[1]


async def test_one_that_does_not_run_is_doubtful_and_in_nobodys_way(patient: Patient) -> None:
    """The stack does not start it, so nobody said that it should run."""
    stack, _ = patient

    code, output, _ = await run("--json", CARNET_STATE=str(stack.state))

    answer = json.loads(output)
    doubtful = [f for f in answer["findings"] if f["verdict"] == "warn"]
    assert (code, answer["ok"]) == (0, True)
    assert {(f["subject"], f["check"]) for f in doubtful} == {
        (NAME, "health"),
        ("broker", "queues"),
    }
    assert f"{QUEUE}: 0 wait, 0 consume; is its service running and ready?" in {
        f["detail"] for f in doubtful
    }


async def test_its_dead_letters_are_told(patient: Patient) -> None:
    stack, vhost = patient
    async with raw_channel(vhost.url(OPERATOR)) as raw:
        await raw.publish("carnet.dead", f"{QUEUE}.dead", b"{}")
        await raw.until_count(f"{QUEUE}.dead", 1)
        found = await examine(stack.state)
        await raw.next(f"{QUEUE}.dead")

    assert any(
        f.verdict is Verdict.WARN and f"{QUEUE}.dead: 1 wait" in f.detail
        for f in found["broker", "dead letters"]
    )


async def test_a_queue_of_its_own_that_is_missing_is_found(patient: Patient) -> None:
    stack, vhost = patient
    (_, dead, *_) = BILLING.queue.queues()
    arguments: dict[str, Any] = dict(dead.arguments)
    async with raw_channel(vhost.url(OPERATOR)) as raw:
        await raw.channel.queue_delete(dead.name)
        try:
            found = await examine(stack.state)
        finally:
            queue = await raw.channel.declare_queue(dead.name, durable=True, arguments=arguments)
            await queue.bind("carnet.dead", dead.name)

    assert f"queue {QUEUE}.dead is not there" in the_failure(found, "broker", "topology")


async def test_a_login_that_is_refused_is_found(patient: Patient) -> None:
    stack, vhost = patient
    async with vhost.broker.management() as api:
        path = f"/permissions/{vhost.vhost}/{NAME}"
        rights = (await api.get(path)).raise_for_status().json()
        (await api.delete(path)).raise_for_status()
        try:
            found = await examine(stack.state)
        finally:
            given = {act: rights[act] for act in ("configure", "write", "read")}
            (await api.put(path, json=given)).raise_for_status()

    assert the_failure(found, NAME, "broker")


async def test_a_service_that_the_running_stack_does_not_know_yet_is_told(
    patient: Patient,
) -> None:
    stack, _ = patient
    text = TEXT.replace("billing", "shipping")
    file = declare(stack.state, text, client="shipping")
    try:
        found = await examine(stack.state)
    finally:
        file.unlink()

    (known,) = found["shipping", "broker"]
    assert known.verdict is Verdict.WARN
    assert "restart carnet up" in known.detail
    assert ("shipping", "seal key") in verdicts(found, Verdict.FAIL)  # and was never added
    assert ("shipping", "health") not in found


@pytest.fixture
def stopped(patient: Patient, tmp_path: Path) -> Path:
    """The state folder of the stack once it has stopped."""
    state = tmp_path / "state"
    ignored = shutil.ignore_patterns("run", "lock", "logs")
    shutil.copytree(patient[0].state, state, ignore=ignored)
    return state


async def test_one_that_has_stopped_with_its_stack_is_in_order(stopped: Path) -> None:
    found = await examine(stopped)

    assert verdicts(found, Verdict.FAIL) == set()
    assert verdicts(found, Verdict.WARN) == {("broker", "broker")}
    assert ("billing", "listing") in verdicts(found, Verdict.OK)


NEWER: Final[dict[str, tuple[str, str, str]]] = {
    "an event": (
        'events = ["billing.refunded.v1"]',
        'events = ["billing.refunded.v1", "billing.billed.v1"]',
        "does not let billing send billing.billed.v1",
    ),
    "a command that it gives": (
        '["orders.cancel.v1"]',
        '["orders.cancel.v1", "orders.place.v1"]',
        "does not let billing send orders.place.v1",
    ),
    "somebody to act at": (
        "[onward]\n",
        '[onward]\nshipping = ["shipping.send.v1"]\n',
        "shipping",
    ),
    "a command that it takes": (
        "[onward]\n",
        '[commands."billing.bill.v1"]\nscopes = ["billing:refund"]\n\n[onward]\n',
        "does not let api-gateway send billing.bill.v1",
    ),
}
"""What a newer service.toml declares, which was not signed yet."""


@pytest.mark.parametrize("case", NEWER)
async def test_what_is_declared_and_not_signed_is_the_one_failure(stopped: Path, case: str) -> None:
    before, after, said = NEWER[case]
    text = TEXT
    assert before in text
    declare(stopped, text.replace(before, after))

    found = await examine(stopped)
    make_local_trust(stopped, declared=read_all_declared(stopped / DECLARED))
    mended = await examine(stopped)

    told_of = the_failure(found, NAME, "listing")
    assert said in told_of
    assert "carnet services add" in told_of
    assert verdicts(mended, Verdict.FAIL) == set()


WRONG: Final[dict[str, tuple[Callable[[Path], object], str, str]]] = {
    "a key that others may read": (
        lambda state: (state / "keys" / NAME / "seal.pem").chmod(0o644),
        *("seal key", "chmod 600"),
    ),
    "no database": (
        lambda state: (state / "data" / f"{NAME}.db").unlink(),
        *("database", "there is no database"),
    ),
    "a database without a migration": (
        lambda state: (state / "data" / f"{NAME}.db").write_bytes(b""),
        *("database", "has had no migration"),
    ),
    "a client that is not listed": (
        lambda state: shutil.copytree(state / "keys/billing", state / "keys/shipping"),
        *("seal key", "carnet trust register"),
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_with_it_is_the_one_failure(stopped: Path, case: str) -> None:
    change, check, hint = WRONG[case]
    change(stopped)
    subject = NAME
    if case == "a client that is not listed":
        subject = "shipping"
        text = TEXT.replace("billing", "shipping")
        declare(stopped, text, client="shipping")
        shutil.copy(stopped / "data/billing.db", stopped / "data/shipping.db")

    found = await examine(stopped)

    assert hint in the_failure(found, subject, check)


async def test_a_service_that_nothing_declares_is_said_in_one_line(tmp_path: Path) -> None:
    code, output, errors = await run("nothing", CARNET_STATE=str(tmp_path), COLUMNS="200")

    assert (code, output) == (2, "")
    assert "nothing is none of users, orders, gateway" in " ".join(errors.split())


async def test_a_service_toml_that_is_wrong_is_said_in_one_line(stopped: Path) -> None:
    declare(stopped, 'client = "orders"\n')

    code, output, errors = await run(CARNET_STATE=str(stopped))

    assert (code, output) == (1, "")
    assert errors.startswith(f"carnet: {stopped / DECLARED / 'billing.toml'}: ")
    assert len(errors.splitlines()) == 1
