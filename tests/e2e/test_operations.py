"""What docs/operations.md tells an operator to type does what the page says, on a running stack.

Commands are typed into a shell as they stand there; only names in capitals are filled in.
"""

import ast
import asyncio
import json
import os
import re
import secrets
import shlex
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aio_pika
import httpx
import pytest
import pytest_asyncio

from auth.explain import decode_unverified
from auth.keys import SigningKey
from auth.keyset import MAX_STATEMENT, KeySet, TrustRoot
from auth.statement import KeySetDraft
from auth.strict import parse_token
from services.contracts.topology import GATEWAY, ORDER_SERVICE, ORDERS_COMMANDS
from services.demo.client import Account, ShopClient, next_event
from services.local.logins import OPERATOR
from services.local.service import CLIENTS
from services.local.stack import LocalStack
from tests.brokers import Brokers
from tests.e2e.shell import Shell, warm_shell

pytestmark = pytest.mark.timeout(600)

HERE: Final = Path(__file__)
PAGE: Final = HERE.parents[2] / "docs" / "operations.md"
BASKET: Final[list[dict[str, Any]]] = [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}]
WITHIN: Final = 120.0

NOT_TYPED_HERE: Final = {
    "carnet up": "tests/e2e/test_up.py",
    "carnet queues": "tests/services/console/test_commands.py",
    "carnet standing": "tests/services/console/test_commands.py",
    "carnet rates": "tests/services/console/test_commands.py",
    "carnet doctor": "tests/e2e/test_doctor.py",
    "carnet doctor orders": "tests/e2e/test_doctor.py",
    "carnet doctor --json": "tests/e2e/test_doctor.py",
    "carnet shards 4": "tests/e2e/test_shards.py",
    "carnet revoke --restored": "tests/services/users/test_issuer_cli.py",
    "carnet clients remove app:NAME": "tests/services/gateway/test_login_cli.py",
    "carnet keys retire KID": "tests/services/users/test_issuer_cli.py",
    "carnet services add FOLDER": "tests/services/test_new_service_cli.py",
    "carnet trust grant": "tests/services/test_trust_cli.py",
    "carnet trust register NAME --service service.toml --key seal.jwk --enc enc.jwk": (
        "tests/services/test_trust_cli.py"
    ),
    "carnet revoke": "only named",
    "carnet trust …": "only named",
    "carnet trust key": "only named",
    "carnet trust withdraw": "only named",
}


def page_commands() -> set[str]:
    """Every command of the page: lines of its blocks without comments, and inline code."""
    blocks: list[str] = []
    inline: list[str] = []
    for number, part in enumerate(PAGE.read_text(encoding="utf-8").split("```")):
        (blocks if number % 2 else inline).append(part)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    spans = re.findall(r"`([^`]+)`", "".join(inline))
    return {" ".join(text.split()) for text in (*lines, *spans) if text.startswith("carnet ")}


def test_every_command_of_the_page_is_typed_here() -> None:
    texts = {
        node.value
        for node in ast.walk(ast.parse(HERE.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }

    assert page_commands() - NOT_TYPED_HERE.keys() <= texts


class CommandError(Exception):
    """A command has ended otherwise than it should; what it said."""


class Operator:
    """Somebody at a shell, in a folder of their own, with `CARNET_STATE` set."""

    def __init__(self, shell: Shell, folder: Path, state: Path) -> None:
        self.shell = shell
        self.folder = folder
        self.state = state

    async def types(self, line: str, *, answer: str = "", exits: int = 0, **blanks: object) -> str:
        """Type a line of the page, its blanks filled in; what was said.

        answer: what is typed when it asks.   exits: its exit code.
        """
        assert line in page_commands(), line
        for name, value in blanks.items():
            line = re.sub(rf"\b{name}\b", shlex.quote(str(value)), line)
        ours = {k: v for k, v in os.environ.items() if not k.startswith("CARNET_")}
        environment = {**ours, "CARNET_STATE": str(self.state), "COLUMNS": "200"}
        async with asyncio.timeout(WITHIN):
            code, said = await self.shell.run(
                line, folder=self.folder, environment=environment, answer=answer
            )
        if code != exits:
            raise CommandError(f"{line}: {said}")
        return said

    async def types_once_known(self, line: str) -> str:
        """Type it again until the next key has been listed for 30 s: before, it may not sign."""
        async with asyncio.timeout(2 * WITHIN):
            while True:
                try:
                    return await self.types(line)
                except CommandError as error:
                    if "30 s" not in str(error):
                        raise
                    await asyncio.sleep(0.5)

    def key_set(self) -> KeySet:
        """The present statement."""
        root = TrustRoot.from_json((self.state / "trust-root.json").read_bytes())
        return root.verify((self.state / "key-set.jwt").read_text(), now=time.time())

    def active_key(self, client: str) -> str:
        """The key that the statement lists as a client's active one."""
        keys = self.key_set().clients[client].keys.items()
        return next(kid for kid, listed in keys if listed.state == "active")


class Site:
    """A running stack, its operator, and a client of its gateway."""

    def __init__(self, stack: LocalStack, operator: Operator, shop: ShopClient) -> None:
        self.stack = stack
        self.operator = operator
        self.types = operator.types
        self.shop = shop

    async def sign_up(self, who: str) -> Account:
        name, password = f"{who}-{secrets.token_hex(6)}", secrets.token_urlsafe(16)
        await self.shop.register(name, password)
        return await self.shop.sign_in(name, password)

    async def refusal_of(self, account: Account) -> str | None:
        """The code with which the account's access token is refused, None where it is taken."""
        headers = {"Authorization": f"Bearer {account.access_token}"}
        async with httpx.AsyncClient(base_url=self.stack.gateway_url, timeout=15) as http:
            answer = await http.get("/v1/orders", headers=headers)
        return None if answer.is_success else str(answer.json()["code"])

    async def becomes(self, account: Account, code: str | None) -> None:
        """Wait until the access token is refused with this code, or taken again."""

        async def so() -> bool:
            return await self.refusal_of(account) == code

        await until(so)

    async def all_have(self, *names: str) -> None:
        """Wait until these services, or all, have adopted the operator's statement."""
        version = self.operator.key_set().version
        for name in names or CLIENTS:
            log = self.stack.services[name].log
            await until_written(log, '"key_set_adopted"', rf'"version": {version}\b')

    async def places_an_order(self, account: Account) -> None:
        """Place one, and hear of it: every key that this takes is believed."""
        async with self.shop.events(account) as events:
            order_id = await self.shop.place(account, BASKET)
            event = await next_event(events, within=WITHIN)
        assert event.type == "orders.placed.v1"
        assert order_id in event.data

    async def restart(self, *names: str) -> None:
        """Restart these services, or all, so that each can be without the others."""

        async def restart(name: str) -> None:
            await self.stack.stop_service(name)
            await self.stack.start_service(name)

        await asyncio.gather(*(restart(name) for name in names or CLIENTS))

    async def dead_letter(self) -> str:
        """The reason of the next dead letter."""
        connection = await aio_pika.connect(self.stack.amqp_url(OPERATOR))
        async with connection, connection.channel() as channel:
            queue = await channel.get_queue(ORDERS_COMMANDS.dead)
            async with asyncio.timeout(WITHIN), queue.iterator(no_ack=True) as letters:
                letter = await anext(letters)
        return str(letter.headers["carnet-reason"])


@pytest_asyncio.fixture(scope="module")
async def site(brokers: Brokers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A stack of these tests' own, whose trust root they may replace."""
    folder = tmp_path_factory.mktemp("operator")
    async with (await brokers.any()).stack_vhost() as broker:
        stack = LocalStack(folder / "state", broker=broker)
        async with warm_shell() as shell, stack, ShopClient(stack.gateway_url) as shop:
            yield Site(stack, Operator(shell, folder, stack.state), shop)


async def until(so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN):
        while not await so():  # noqa: ASYNC110 - asked of files and over HTTP
            await asyncio.sleep(0.05)


async def until_written(log: Path, *patterns: str) -> None:
    """Wait until one line of the log has all of these in it."""

    async def so() -> bool:
        lines = (await asyncio.to_thread(log.read_text, encoding="utf-8")).splitlines()
        return any(all(re.search(pattern, line) for pattern in patterns) for line in lines)

    await until(so)


def claim(account: Account, name: str) -> Any:
    return decode_unverified(account.access_token).unverified_claims[name]


def signer(account: Account) -> str:
    return decode_unverified(account.access_token).unverified_header["kid"]


# ---- See


async def test_a_token_is_explained(site: Site) -> None:
    ada = await site.sign_up("ada")
    head, payload, _ = ada.access_token.split(".")

    genuine, forged = await asyncio.gather(
        site.types("carnet token inspect TOKEN", TOKEN=ada.access_token),
        site.types("carnet token inspect TOKEN", TOKEN=f"{head}.{payload}.{'A' * 86}", exits=1),
    )

    assert claim(ada, "sid") in genuine
    assert "bad_signature" in forged


# ---- End somebody's access


async def test_a_session_is_ended_and_no_other_of_the_same_account(site: Site) -> None:
    ada = await site.sign_up("ada")
    other = await site.shop.sign_in(ada.name, ada.password)
    listed = await site.types("carnet accounts sessions NAME", NAME=ada.name)
    assert claim(ada, "sid") in listed
    assert claim(other, "sid") in listed

    await site.types("carnet revoke --session SID", SID=claim(ada, "sid"))

    await site.becomes(ada, "revoked")
    assert await site.refusal_of(other) is None
    told = await site.types("carnet audit export --text --about SUBJECT", SUBJECT=claim(ada, "sub"))
    assert "revoke_session" in told


async def test_all_of_an_accounts_sessions_are_ended_and_it_may_sign_in_again(site: Site) -> None:
    ada = await site.sign_up("ada")

    await site.types("carnet revoke --user NAME", NAME=ada.name)

    await site.becomes(ada, "revoked")
    assert await site.refusal_of(await site.shop.sign_in(ada.name, ada.password)) is None


async def test_a_stolen_password_opens_nothing_once_it_is_replaced(site: Site) -> None:
    ada = await site.sign_up("ada")

    async def opens(password: str) -> bool:
        async with httpx.AsyncClient(base_url=site.stack.gateway_url, timeout=15) as http:
            answer = await http.post("/v1/sessions", json={"name": ada.name, "password": password})
        return answer.is_success

    await site.types("carnet accounts disable NAME", NAME=ada.name)
    await site.becomes(ada, "revoked")
    assert not await opens(ada.password)
    new = secrets.token_urlsafe(16)
    await site.types("carnet accounts password NAME", NAME=ada.name, answer=f"{new}\n")
    assert not await opens(new)
    await site.types("carnet accounts enable NAME", NAME=ada.name)

    assert await opens(new)
    assert not await opens(ada.password)

    await site.types("carnet audit export > audit.jsonl")
    said = await site.types("carnet audit verify")
    lines = (site.operator.folder / "audit.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert f"{len(entries)} entries" in said
    theirs = [entry for entry in entries if entry["whom"] == claim(ada, "sub")]
    done = [entry["what"] for entry in theirs if entry["who"].startswith("operator:")]
    assert done == ["disable", "change_password", "enable"]
    shown = await site.types("carnet audit export")
    assert shown.count("\n") == len(entries)


# ---- Rotate


async def test_a_statement_is_signed_anew_and_adopted(site: Site) -> None:
    before = site.operator.key_set()

    await site.types("carnet trust sign")

    after = site.operator.key_set()
    assert after.version == before.version + 1
    assert after.clients.keys() == before.clients.keys()
    assert f"version {after.version}" in await site.types("carnet trust show")
    await site.all_have()


async def test_a_service_rotates_with_no_restart(site: Site) -> None:
    ada, old = await site.sign_up("ada"), site.operator.active_key(GATEWAY)

    await site.types("carnet trust rotate api-gateway")
    await site.all_have()
    await site.types("carnet trust rotate api-gateway --grace 3600")
    await site.all_have()

    assert site.operator.active_key(GATEWAY) != old
    await site.places_an_order(ada)


async def test_a_service_whose_keys_are_elsewhere_rotates_by_its_public_key(site: Site) -> None:
    ada, old = await site.sign_up("ada"), site.operator.active_key(ORDER_SERVICE)
    file = site.stack.state / "keys" / ORDER_SERVICE / "seal.2.pem"

    await site.types("carnet trust key FILE > next.jwk", FILE=file)
    await site.types("carnet trust rotate NAME --key next.jwk", NAME=ORDER_SERVICE)
    await site.all_have()
    await site.types("carnet trust rotate NAME", NAME=ORDER_SERVICE)
    await site.types("carnet trust withdraw NAME --kid OLD", NAME=ORDER_SERVICE, OLD=old)
    await site.all_have()

    assert site.operator.active_key(ORDER_SERVICE) == SigningKey.load(file).kid
    await site.places_an_order(ada)


async def test_the_issuer_rotates_and_what_the_old_key_signed_stays_good(site: Site) -> None:
    ada = await site.sign_up("ada")
    listed = [
        kid for kid, key in site.operator.key_set().issuer_keys.items() if key.state == "next"
    ]

    assert listed[0] in await site.operator.types_once_known("carnet keys rotate")

    shown = await site.types("carnet keys list")
    assert re.search(rf"{listed[0]}\W+next\W+since", shown)

    async def signs() -> bool:
        return signer(await site.shop.sign_in(ada.name, ada.password)) == listed[0]

    await until(signs)
    assert signer(ada) != listed[0]
    await site.places_an_order(ada)

    await site.types("carnet trust rotate issuer")
    await site.types("carnet trust rotate issuer")
    await site.types("carnet trust rotate issuer --ahead 4")
    keys = site.operator.key_set().issuer_keys
    assert keys[listed[0]].state == "active"
    assert sum(key.state == "next" for key in keys.values()) == 4
    await site.all_have()


# ---- Recover from a stolen key


async def test_what_a_stolen_key_of_a_service_sealed_is_a_dead_letter(site: Site) -> None:
    ada, old = await site.sign_up("ada"), site.operator.active_key(GATEWAY)
    await site.stack.stop_service("orders")
    await site.shop.place(ada, BASKET)

    await site.types("carnet trust rotate NAME", NAME=GATEWAY)
    await site.all_have("users", "gateway")
    await site.types("carnet trust rotate NAME --grace 0", NAME=GATEWAY)
    await site.types("carnet trust withdraw NAME --kid OLD", NAME=GATEWAY, OLD=old)
    await site.all_have("users", "gateway")
    await site.stack.start_service("orders")

    assert await site.dead_letter() == "unknown_key"
    await site.places_an_order(ada)
    assert len(await site.shop.orders(ada)) == 1


async def test_a_stolen_service_is_out_until_it_is_registered_with_new_keys(site: Site) -> None:
    ada, old = await site.sign_up("ada"), site.operator.active_key(GATEWAY)

    await site.types("carnet trust withdraw NAME", NAME=GATEWAY)

    await site.becomes(ada, "revoked")
    await site.types("carnet trust register NAME", NAME=GATEWAY)
    await site.all_have("users", "orders")
    assert site.operator.active_key(GATEWAY) != old
    await site.restart("gateway")
    await site.places_an_order(await site.shop.sign_in(ada.name, ada.password))


async def test_a_stolen_key_of_the_issuer_is_withdrawn_and_the_next_one_signs(site: Site) -> None:
    ada = await site.sign_up("ada")
    stolen = signer(ada)

    await site.types("carnet trust rotate issuer --ahead 1")
    await site.types("carnet trust withdraw issuer --kid KID", KID=stolen)

    log = site.stack.services["users"].log
    await until_written(log, '"issuer_key_rotated"', '"why": "withdrawn"')
    await site.becomes(ada, "unknown_key")
    async with httpx.AsyncClient(base_url=site.stack.gateway_url, timeout=15) as http:
        form = {"grant_type": "refresh_token", "refresh_token": ada.refresh_token}
        answer = (await http.post("/oauth/token", data=form)).json()
    again = Account(ada.name, ada.password, answer["access_token"], answer["refresh_token"])
    assert signer(again) != stolen
    await site.becomes(again, None)  # everybody takes the revocations anew first
    await site.places_an_order(again)

    await site.types("carnet trust rotate issuer")
    await site.types("carnet trust rotate issuer --ahead 1")
    listed = site.operator.key_set().issuer_keys
    assert listed[signer(again)].state == "active"
    assert stolen not in listed
    assert not list(site.stack.state.glob(f"keys/*/*/{stolen}.pem"))
    assert await site.refusal_of(again) is None


# ---- The trust root


async def test_a_root_is_replaced_while_everything_runs(site: Site) -> None:
    ada, state, folder = await site.sign_up("ada"), site.stack.state, site.operator.folder
    old = json.loads((state / "trust-root.json").read_text())["keys"]

    await site.types("carnet trust init --state new-root")
    new = json.loads((folder / "new-root" / "trust-root.json").read_text())["keys"]
    believe(state, old + new)  # 1
    await site.restart()
    shutil.copy(folder / "new-root/root/root.pem", state / "root/root.pem")  # 2
    await site.types("carnet trust sign")
    await site.all_have()
    believe(state, new)  # 3
    await site.restart()

    await site.places_an_order(ada)
    assert signed_by(state) == new[0]["kid"]
    shutil.rmtree(folder / "new-root")


async def test_a_stolen_root_is_replaced_without_believing_both(site: Site) -> None:
    ada, state, folder = await site.sign_up("ada"), site.stack.state, site.operator.folder
    thief = SigningKey.load(state / "root/root.pem")
    old = json.loads((state / "trust-root.json").read_text())["keys"]
    copy = folder / "copy"
    shutil.copytree(state / "root", copy / "root")
    shutil.copy(state / "key-set.jwt", copy)
    apart = Operator(site.operator.shell, folder, copy)

    await apart.types("carnet trust init --state new-root")
    new = json.loads((folder / "new-root" / "trust-root.json").read_text())["keys"]
    believe(copy, old + new)
    shutil.copy(folder / "new-root/root/root.pem", copy / "root/root.pem")
    await apart.types("carnet trust show")
    await apart.types("carnet trust sign")
    believe(copy, new)
    for name in ("trust-root.json", "key-set.jwt", "root/root.pem"):
        shutil.copy(copy / name, state / name)
    await site.restart()

    genuine = (state / "key-set.jwt").read_text()
    believed = site.operator.key_set()
    draft = KeySetDraft.of(believed)
    draft.version += 10
    (state / "key-set.jwt").write_text(draft.sign(thief, now=time.time()))
    log = site.stack.services["users"].log
    await until_written(log, '"key_set_not_adopted"', "a key that is not the trust root's")
    (state / "key-set.jwt").write_text(genuine)
    await site.places_an_order(ada)
    assert signed_by(state) == new[0]["kid"]


def believe(state: Path, keys: list[dict[str, str]]) -> None:
    """What an editor does to `trust-root.json`."""
    (state / "trust-root.json").write_text(json.dumps({"keys": keys}))


def signed_by(state: Path) -> str:
    """The `kid` of the root that signed the present statement."""
    statement = (state / "key-set.jwt").read_text().strip()
    return parse_token(statement, limit=MAX_STATEMENT).unverified_header["kid"]
