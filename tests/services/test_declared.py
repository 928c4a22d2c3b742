"""What a service of one's own may declare, and what follows from it."""

from pathlib import Path
from typing import Any

import pytest

from messaging.topology import COMMANDS, EVENTS, REPLY
from services.contracts.clients import CLIENTS
from services.contracts.rights import RIGHTS
from services.contracts.scopes import CUSTOMER, OPERATOR, ROLES
from services.contracts.topology import GATEWAY, OPERATOR_DESK, ORDER_SERVICE, USER_SERVICE
from services.declared import (
    DeclaredService,
    grants_with,
    read_all_declared,
    read_declared,
    rights_with,
    roles_with,
)
from services.errors import StartError

BILLING = """
client = "billing"
events = ["billing.refunded.v1"]
hears = ["orders.placed.v1"]

[commands."billing.refund.v1"]
scopes = ["billing:refund", "orders:write"]
wanted_for = 300

[onward]
order-service = ["orders.cancel.v1"]

[roles]
customer = ["billing:refund"]
"""


def declared(folder: Path, text: str = BILLING) -> DeclaredService:
    path = folder / "service.toml"
    path.write_text(text)
    return read_declared(path)


REFUSED: dict[str, tuple[str, str]] = {
    "a service of this system": ('client = "billing"', 'client = "order-service"'),
    "a name that is no client id": ('client = "billing"', 'client = "Billing"'),
    "the command of another": ("billing.refund.v1", "orders.place.v1"),
    "the event of another": ("billing.refunded.v1", "orders.placed.v1"),
    "an event of a name that begins alike": ("billing.refunded.v1", "billing-two.refunded.v1"),
    "a type without a version": ("billing.refund.v1", "billing.refund"),
    "a pattern for a type": ('hears = ["orders.placed.v1"]', 'hears = ["orders.#.v1"]'),
    "a scope of this system for a role": (
        'customer = ["billing:refund"]',
        'customer = ["orders:write-all"]',
    ),
    "the first word of types of this system": ("billing", "orders"),
    "the first word of scopes of this system": ("billing", "tokens"),
    "a command that is an event too": ("billing.refunded.v1", "billing.refund.v1"),
    "an event of this system onward": ("orders.cancel.v1", "orders.placed.v1"),
    "a request of this system onward": ("orders.cancel.v1", "users.issue.v1"),
    "a command of this system to another": ("order-service =", "ledger ="),
    "a command to a service that takes none": ("order-service =", "user-service ="),
    "a scope of another for a role": (
        'customer = ["billing:refund"]',
        'customer = ["ledger:write"]',
    ),
    "a scope of a name that begins alike": (
        'customer = ["billing:refund"]',
        'customer = ["billing-two:refund"]',
    ),
    "an unknown role": ("customer =", "root ="),
    "a command without a scope": ('scopes = ["billing:refund", "orders:write"]', "scopes = []"),
    "longer than revocations are kept": ("wanted_for = 300", "wanted_for = 86401"),
    "no time": ("wanted_for = 300", "wanted_for = 0"),
    "what nobody reads": ("wanted_for = 300", "wanted = 300"),
    "no TOML": ('client = "billing"', "client = billing"),
}


@pytest.mark.parametrize(("old", "new"), REFUSED.values(), ids=list(REFUSED))
def test_a_declaration_is_refused_of(tmp_path: Path, old: str, new: str) -> None:
    assert old in BILLING

    with pytest.raises(StartError, match=r"service\.toml: "):
        declared(tmp_path, BILLING.replace(old, new))


def test_the_genuine_declaration_is_read(tmp_path: Path) -> None:
    service = declared(tmp_path)

    assert (service.client, service.queue.name) == ("billing", "billing.commands")
    assert service.grant.exchanges == {ORDER_SERVICE}
    assert service.grant.publishes >= {"billing.refunded.v1", "orders.cancel.v1"}
    assert "billing.refund.v1" not in service.grant.publishes
    assert service.grant.scopes == frozenset()


def test_the_gateway_may_send_what_the_service_takes_and_no_more(tmp_path: Path) -> None:
    grants = grants_with((declared(tmp_path),))

    before, after = CLIENTS[GATEWAY], grants[GATEWAY]
    assert after.publishes - before.publishes == {"billing.refund.v1"}
    assert after.exchanges - before.exchanges == {"billing"}
    unchanged = CLIENTS.keys() - {GATEWAY}
    assert all(grants[each] == CLIENTS[each] for each in unchanged)


def test_the_rights_at_the_broker_are_what_it_needs(tmp_path: Path) -> None:
    rights = rights_with((declared(tmp_path),))

    billing, gateway = rights["billing"], rights[GATEWAY]
    assert billing.consumes == ("billing.commands",)
    assert billing.publishes[COMMANDS].exactly == ("orders.cancel",)
    assert billing.publishes[EVENTS].exactly == ("billing.refunded",)
    assert EVENTS not in billing.subscribes  # the binding is the operator's to make
    added = set(gateway.publishes[COMMANDS].exactly) - set(
        RIGHTS[GATEWAY].publishes[COMMANDS].exactly
    )
    assert added == {"billing.refund"}
    assert "carnet.billing." in rights[USER_SERVICE].publishes[REPLY].beginning
    assert rights[ORDER_SERVICE] == RIGHTS[ORDER_SERVICE]
    desk, before = rights[OPERATOR_DESK], RIGHTS[OPERATOR_DESK]
    assert set(desk.consumes) - set(before.consumes) == {"billing.commands.dead"}
    assert set(desk.counts.exactly) - set(before.counts.exactly) == {"billing.commands"}
    assert set(desk.counts.beginning) - set(before.counts.beginning) == {"billing.commands.retry."}
    assert desk.publishes == before.publishes


def test_a_service_that_sends_nothing_may_send_nothing(tmp_path: Path) -> None:
    quiet = declared(tmp_path, 'client = "audit"\nhears = ["orders.placed.v1"]\n')

    assert COMMANDS not in quiet.rights.publishes
    assert EVENTS not in quiet.rights.publishes
    assert grants_with((quiet,))[GATEWAY] == CLIENTS[GATEWAY]


def test_roles_give_its_scopes_besides_their_own(tmp_path: Path) -> None:
    roles = roles_with((declared(tmp_path),))

    assert roles[CUSTOMER] == ROLES[CUSTOMER] | {"billing:refund"}
    assert roles[OPERATOR] == ROLES[OPERATOR]


def test_two_files_of_one_client_are_refused(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(BILLING)

    with pytest.raises(StartError, match="same client"):
        read_all_declared(tmp_path)


LEDGER = """
client = "ledger"
events = ["ledger.paid.v1"]

[commands."ledger.pay.v1"]
scopes = ["ledger:pay"]
"""


@pytest.mark.parametrize(
    ("onward", "says"),
    [
        ('ledger = ["ledger.paid.v1"]', "an event that ledger alone tells"),
        ('till = ["ledger.pay.v1"]', "name ledger in its onward"),
    ],
)
def test_what_another_tells_or_takes_is_refused_beside_it(
    tmp_path: Path, onward: str, says: str
) -> None:
    (tmp_path / "billing.toml").write_text(BILLING.replace("[onward]", f"[onward]\n{onward}"))
    assert len(read_all_declared(tmp_path)) == 1
    (tmp_path / "ledger.toml").write_text(LEDGER)

    with pytest.raises(StartError, match=says):
        read_all_declared(tmp_path)


def test_a_command_onward_to_the_one_that_takes_it_is_read(tmp_path: Path) -> None:
    onward = '[onward]\nledger = ["ledger.pay.v1"]'
    (tmp_path / "billing.toml").write_text(BILLING.replace("[onward]", onward))
    (tmp_path / "ledger.toml").write_text(LEDGER)

    billing, _ = read_all_declared(tmp_path)
    assert billing.grant.exchanges == {ORDER_SERVICE, "ledger"}


@pytest.mark.parametrize("folder", [None, Path("nowhere")])
def test_without_a_folder_there_are_none(folder: Any) -> None:
    assert read_all_declared(folder) == ()
