"""The story: sign in, order, look at the message, watch the checks, then try to forge it."""

import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE
from rich.table import Table

from auth.explain import COMMAND_CHECKS, decode_unverified, explain
from auth.keyset import KeySet
from auth.message import UnverifiedMessage
from auth.policy import at_acceptance, requires
from auth.trust import FixedTrust
from auth.verifier import Verifier
from services.cli.token import checks_table, claims_table
from services.contracts.orders import PATIENCE
from services.contracts.scopes import ORDERS_WRITE
from services.contracts.topology import ORDER_SERVICE, PLACE_ORDER
from services.demo.client import Account, ShopClient, StreamedEvent, next_event
from services.demo.forgeries import Captured, ForgersKeys, five_forgeries
from services.demo.screen import Screen
from services.demo.wiretap import Wiretap
from services.errors import StartError

EVENT_DEADLINE: Final = 20.0

BASKETS: Final[list[list[dict[str, Any]]]] = [
    [{"sku": "tea-earl-grey", "quantity": 1, "unit_price": "4.20"}],
    [
        {"sku": "cup-porcelain", "quantity": 2, "unit_price": "9.50"},
        {"sku": "spoon-silver", "quantity": 2, "unit_price": "12.00"},
    ],
    [{"sku": "biscuits", "quantity": 3, "unit_price": "2.75"}],
]


@dataclass(frozen=True, slots=True)
class Backstage:
    """What only the operator has: a broker login, the key set and the private keys."""

    amqp_url: str
    key_set: KeySet
    keys: Path
    passphrase: bytes | None


async def tell(screen: Screen, client: ShopClient, backstage: Backstage) -> None:
    """Tell the whole story.

    Raises:
        StartError: something went otherwise than it must.
    """
    with screen.step("Register and sign in over HTTP"):
        ada = await _new_account(screen, client, "ada")
        mallory = await _new_account(screen, client, "mallory")
        screen.show("ada's access token says:", _claims(ada.access_token))
    async with Wiretap(backstage.amqp_url) as tap, client.events(ada) as events:
        with screen.step("Place three orders; watch their events arrive live"):
            captured = await _place_orders(screen, client, ada, events, tap)
        with screen.step("One message, as it lay on the broker"):
            _show_message(screen, captured)
        with screen.step("What the order service checked, with nobody's help"):
            _show_checks(screen, captured, backstage.key_set)
        with screen.step("The stored orders"):
            stored = await client.orders(ada)
            screen.show(_orders_table(stored))
            _require(len(stored) == len(BASKETS), "not every order was stored once")
        with screen.step("Five forgeries, straight to the broker"):
            await client.place(mallory, BASKETS[0])
            attackers = await tap.capture()
            await _forge(screen, tap, captured, attackers, backstage)
            after = await client.orders(ada)
            _require(after == stored, "a forgery changed the orders")
            screen.passed("ada's orders are what they were: nothing was stored")


async def _new_account(screen: Screen, client: ShopClient, who: str) -> Account:
    name = f"{who}-{secrets.token_hex(4)}"
    password = secrets.token_urlsafe(16)
    await client.register(name, password)
    account = await client.sign_in(name, password)
    screen.passed(f"{name} has registered and signed in")
    return account


async def _place_orders(
    screen: Screen,
    client: ShopClient,
    ada: Account,
    events: AsyncIterator[StreamedEvent],
    tap: Wiretap,
) -> Captured:
    placed = []
    for basket in BASKETS:
        order_id = await client.place(ada, basket)
        placed.append(order_id)
        screen.passed(f"202 Accepted: order {order_id}")
    seen = set()
    for _ in placed:
        event = await next_event(events, within=EVENT_DEADLINE)
        _require(event.type == "orders.placed.v1", f"an event of another type: {event.type}")
        told = json.loads(event.data)
        seen.add(told["order_id"])
        screen.passed(f"event {event.id}: {event.type}, total {told['total']} {told['currency']}")
    _require(seen == set(placed), "the events are not those of the orders")
    captured = [await tap.capture() for _ in placed]
    first = [c for c in captured if _order_id(c) == placed[0]]
    _require(len(first) == 1, "the first order's message was not seen on the broker")
    return first[0]


def _order_id(captured: Captured) -> str:
    return str(decode_unverified(captured.seal).unverified_claims["jti"])


def _show_message(screen: Screen, captured: Captured) -> None:
    headers = Table("header", "value", title="headers", title_justify="left", box=SIMPLE)
    for name, value in captured.headers.items():
        headers.add_row(name, f"{value[:48]}… ({len(value)} characters)")
    screen.show(headers, f"body: {captured.body.decode()}")
    screen.show("the carnet: who asked, through whom, for whom", _claims(captured.carnet))
    screen.show("the seal: what binds the carnet to this message", _claims(captured.seal))


def _claims(token: str) -> Table:
    return claims_table(decode_unverified(token).unverified_claims, now=time.time())


def _show_checks(screen: Screen, captured: Captured, key_set: KeySet) -> None:
    verifier = Verifier(FixedTrust(key_set), audience=ORDER_SERVICE)
    message = UnverifiedMessage(body=captured.body, headers=captured.headers, type=PLACE_ORDER.type)
    results = explain(
        lambda: verifier.command(
            message,
            PLACE_ORDER,
            requires(ORDERS_WRITE),
            at_acceptance(PATIENCE),
            now=time.time(),
        ),
        COMMAND_CHECKS,
    )
    screen.show(checks_table(results))
    _require(all(r.verdict == "passed" for r in results), "a genuine message was refused")


def _orders_table(orders: list[dict[str, Any]]) -> Table:
    table = Table(box=SIMPLE)
    for column in ("order", "state", "total", "placed by", "through"):
        table.add_column(column, overflow="fold")
    for order in orders:
        table.add_row(
            order["id"],
            order["state"],
            f"{order['total']} {order['currency']}",
            order["placed_by"],
            ", ".join(order["placed_through"]),
        )
    return table


async def _forge(
    screen: Screen, tap: Wiretap, victim: Captured, attackers: Captured, backstage: Backstage
) -> None:
    keys = ForgersKeys.load(backstage.keys, backstage.key_set, backstage.passphrase)
    forgeries = five_forgeries(
        victim, attackers, keys, issuer=backstage.key_set.issuer, now=time.time()
    )
    for forgery in forgeries:
        await tap.publish(forgery.envelope)
        dead = await tap.dead_letter(forgery.envelope)
        reason = dead.headers.get("carnet-reason")
        detail = dead.headers.get("carnet-detail")
        screen.refused(f"{forgery.title}: [bold]{reason}[/] ({detail})")
        _require(reason == forgery.expected, f"refused as {reason}, not {forgery.expected}")


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise StartError(f"the demo went wrong: {otherwise}")
