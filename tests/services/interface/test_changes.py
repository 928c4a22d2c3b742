"""Each kind of change: those that break somebody are named, those that break nobody are not."""

import copy
from collections.abc import Callable
from typing import Any, Final

import pytest

from services.interface.asyncapi import asyncapi
from services.interface.changes import breaks
from services.interface.files import openapi
from services.interface.httpchanges import http_breaks

Document = dict[str, Any]
Change = Callable[[Document], object]

BEFORE: Final = asyncapi()
HTTP_BEFORE: Final = openapi()


def schema(document: Document, name: str) -> Document:
    found: Document = document["components"]["schemas"][name]
    return found


def member(document: Document, name: str, path: str) -> Document:
    found: Document = schema(document, name)["properties"][path]
    return found


def rules(document: Document, name: str) -> Document:
    found: Document = document["components"]["messages"][name]["x-carnet"]
    return found


def topology(document: Document) -> Document:
    found: Document = document["x-carnet-topology"]
    return found


LINE = "orders.place.v1.OrderLine"
CANCEL = "orders.cancel.v1"
VIEW = "orders.get.v1.reply"
BREAKING: Final[dict[str, tuple[Change, str]]] = {
    "a type is removed": (
        lambda d: d["components"]["messages"].pop(CANCEL),
        "orders.cancel.v1: the type is removed; breaks api-gateway",
    ),
    "a member that a service takes is removed": (
        lambda d: schema(d, LINE)["properties"].pop("sku"),
        "orders.place.v1: lines[].sku is removed; breaks api-gateway",
    ),
    "a member that a service takes is retyped": (
        lambda d: member(d, LINE, "quantity").update(type="string"),
        "orders.place.v1: lines[].quantity: type is string, was integer; breaks api-gateway",
    ),
    "another member is demanded": (
        lambda d: schema(d, CANCEL)["required"].append("why"),
        "orders.cancel.v1: why is required now; breaks api-gateway",
    ),
    "a new member is demanded": (
        lambda d: (
            schema(d, CANCEL)["required"].append("why"),
            schema(d, CANCEL)["properties"].update(why={"type": "string"}),
        ),
        "orders.cancel.v1: why is required now; breaks api-gateway",
    ),
    "a pattern that must be met is another": (
        lambda d: member(d, "orders.place.v1", "currency").update(pattern="^EUR$"),
        "orders.place.v1: currency: pattern is ^EUR$, was ^[A-Z]{3}$; breaks api-gateway",
    ),
    "fewer values are taken": (
        lambda d: member(d, "orders.place.v1", "currency").update(enum=["EUR"]),
        "orders.place.v1: currency: enum is EUR, was not said; breaks api-gateway",
    ),
    "a bound is tighter": (
        lambda d: member(d, LINE, "quantity").update(maximum=100),
        "orders.place.v1: lines[].quantity: maximum is 100, was 10000; breaks api-gateway",
    ),
    "null is taken no more": (
        lambda d: member(d, "orders.list.v1", "cursor").update(
            anyOf=[{"type": "string", "maxLength": 200}]
        ),
        "orders.list.v1: cursor: type is string, was null; breaks api-gateway",
    ),
    "a member of an event is removed": (
        lambda d: schema(d, "orders.placed.v1")["properties"].pop("total"),
        "orders.placed.v1: total is removed; breaks api-gateway, whoever else listens",
    ),
    "a member of an event is retyped": (
        lambda d: member(d, "orders.placed.v1", "total").update(type="number"),
        (
            "orders.placed.v1: total: type is number, was string; "
            "breaks api-gateway, whoever else listens"
        ),
    ),
    "a member of an event may be missing": (
        lambda d: schema(d, "orders.placed.v1")["required"].remove("total"),
        "orders.placed.v1: total may be missing now; breaks api-gateway, whoever else listens",
    ),
    "a closed event has a new member": (
        lambda d: schema(d, "orders.placed.v1")["properties"].update(note={"type": "string"}),
        (
            "orders.placed.v1: note is new, and readers of the old schema allow no other members; "
            "breaks api-gateway, whoever else listens"
        ),
    ),
    "an event's pattern is wider": (
        lambda d: member(d, "orders.placed.v1", "currency").pop("pattern"),
        (
            "orders.placed.v1: currency: pattern is not said, was ^[A-Z]{3}$; "
            "breaks api-gateway, whoever else listens"
        ),
    ),
    "a reply has more values": (
        lambda d: schema(d, VIEW)["properties"]["ok"]["properties"]["state"]["enum"].append("lost"),
        (
            "orders.get.v1.reply: ok.state: enum is placed, cancelled, refused, lost, was placed, "
            "cancelled, refused; breaks api-gateway"
        ),
    ),
    "a reply's member may be null": (
        lambda d: schema(d, VIEW)["properties"]["ok"]["properties"].update(
            total={"anyOf": [{"type": "string"}, {"type": "null"}]}
        ),
        "orders.get.v1.reply: ok.total: type is null, was string; breaks api-gateway",
    ),
    "the exchange is another": (
        lambda d: rules(d, CANCEL).update(exchange="orders"),
        (
            "orders.cancel.v1: exchange is orders, was carnet.commands; "
            "breaks api-gateway, order-service"
        ),
    ),
    "the routing key is another": (
        lambda d: rules(d, CANCEL).update(routing_key="orders.end"),
        (
            "orders.cancel.v1: routing key is orders.end, was orders.cancel; "
            "breaks api-gateway, order-service"
        ),
    ),
    "a body is encrypted": (
        lambda d: rules(d, CANCEL).update(encrypted=True),
        "orders.cancel.v1: encrypted is True, was False; breaks api-gateway, order-service",
    ),
    "a client may send it no more": (
        lambda d: rules(d, CANCEL).update(publishers=[]),
        "orders.cancel.v1: api-gateway may send it no more; breaks api-gateway",
    ),
    "a service takes it no more": (
        lambda d: rules(d, CANCEL).update(receivers=["billing-service"]),
        "orders.cancel.v1: order-service takes it no more; breaks api-gateway",
    ),
    "a carnet is demanded": (
        lambda d: rules(d, "users.key_set.v1").update(carnet=True),
        "users.key_set.v1: a carnet is demanded; breaks api-gateway, order-service, operator-desk",
    ),
    "another scope is demanded": (
        lambda d: rules(d, CANCEL)["scopes"].append("orders:cancel"),
        "orders.cancel.v1: the scope orders:cancel is demanded; breaks api-gateway",
    ),
    "the carnet is judged later": (
        lambda d: rules(d, CANCEL).update(carnet_judged="at_processing"),
        (
            "orders.cancel.v1: the carnet is judged at_processing, was at_acceptance; "
            "breaks api-gateway"
        ),
    ),
    "work may wait for less long": (
        lambda d: rules(d, CANCEL).update(max_age=60),
        "orders.cancel.v1: max_age is 60 s, was 86400 s; breaks api-gateway",
    ),
    "a seal has another claim": (
        lambda d: schema(d, "claims.seal")["required"].append("nonce"),
        "claims of the seal: nonce is required now; breaks publishers",
    ),
    "a carnet has a claim no more": (
        lambda d: schema(d, "claims.carnet")["properties"].pop("epoch"),
        "claims of the carnet: epoch is removed; breaks relying parties",
    ),
    "a token has another typ": (
        lambda d: schema(d, "claims.carnet")["x-carnet-token"].update(typ="JWT"),
        "claims of the carnet: typ is JWT, was carnet+jwt; breaks everybody",
    ),
    "a queue is gone": (
        lambda d: topology(d)["queues"].pop("orders.commands"),
        "queue orders.commands: it is removed; breaks whoever publishes or consumes there",
    ),
    "an exchange is of another kind": (
        lambda d: topology(d)["exchanges"]["carnet.events"].update(type="fanout"),
        (
            "exchange carnet.events: it is declared as {'type': 'fanout', 'arguments': {}}, "
            "was {'type': 'topic', 'arguments': {}}; "
            "breaks whoever publishes or consumes there, a broker that holds it"
        ),
    ),
    "a binding is gone": (
        lambda d: topology(d)["bindings"].remove(
            "carnet.commands --orders.place--> orders.commands"
        ),
        (
            "binding carnet.commands --orders.place--> orders.commands: it is removed, so what is "
            "sent goes nowhere; breaks whoever publishes or consumes there"
        ),
    ),
}

HARMLESS: Final[dict[str, Change]] = {
    "nothing": lambda _: None,
    "a type is added": lambda d: d["components"]["messages"].update(
        {"orders.place.v2": d["components"]["messages"]["orders.place.v1"]}
    ),
    "a service takes another member that may be left out": lambda d: schema(d, CANCEL)[
        "properties"
    ].update(why={"type": "string"}),
    "a member need not be there any more": lambda d: schema(d, "orders.place.v1")[
        "required"
    ].remove("currency"),
    "a service takes any currency": lambda d: member(d, "orders.place.v1", "currency").pop(
        "pattern"
    ),
    "a service takes more": lambda d: member(d, LINE, "quantity").update(maximum=20_000),
    "a service takes null as well": lambda d: schema(d, CANCEL)["properties"].update(
        order_id={"anyOf": [member(d, CANCEL, "order_id"), {"type": "null"}]}
    ),
    "an event says fewer values": lambda d: member(d, "orders.placed.v1", "currency").update(
        enum=["EUR"], pattern="^[A-Z]{3}$"
    ),
    "an open reply has a new member": lambda d: schema(d, VIEW)["properties"]["ok"][
        "properties"
    ].update(note={"type": "string"}),
    "what is said about a member": lambda d: member(d, "orders.place.v1", "currency").update(
        description="Money."
    ),
    "another client may send it": lambda d: rules(d, CANCEL)["publishers"].append("importer"),
    "work may wait for longer": lambda d: rules(d, CANCEL).update(max_age=90_000),
    "a scope is demanded no more": lambda d: rules(d, CANCEL)["scopes"].clear(),
    "a queue is added": lambda d: topology(d)["queues"].update(billing={}),
}


@pytest.mark.parametrize("name", BREAKING)
def test_it_is_said_what_breaks_and_whom_where(name: str) -> None:
    change, line = BREAKING[name]
    after = copy.deepcopy(BEFORE)

    change(after)

    assert line in [str(each) for each in breaks(BEFORE, after)]


@pytest.mark.parametrize("name", HARMLESS)
def test_nothing_breaks_where(name: str) -> None:
    after = copy.deepcopy(BEFORE)

    HARMLESS[name](after)

    assert breaks(BEFORE, after) == []


def operation(document: Document, path: str, method: str = "post") -> Document:
    found: Document = document["paths"][path][method]
    return found


def json_schema(document: Document, part: Document) -> Document:
    reference = part["content"]["application/json"]["schema"]["$ref"]
    return schema(document, reference.rpartition("/")[2])


ORDERS = "/v1/orders"
HTTP_BREAKING: Final[dict[str, tuple[Change, str]]] = {
    "an operation is removed": (
        lambda d: d["paths"][ORDERS].pop("get"),
        "GET /v1/orders: the operation is removed; breaks HTTP clients",
    ),
    "a member of a body is demanded": (
        lambda d: json_schema(d, operation(d, ORDERS)["requestBody"])["required"].append("note"),
        "POST /v1/orders: body: note is required now; breaks HTTP clients",
    ),
    "a body is of another media type": (
        lambda d: operation(d, ORDERS)["requestBody"]["content"].update(
            {"text/plain": operation(d, ORDERS)["requestBody"]["content"].pop("application/json")}
        ),
        "POST /v1/orders: body: application/json is removed; breaks HTTP clients",
    ),
    "a parameter is demanded": (
        lambda d: operation(d, ORDERS, "get")["parameters"][0].update(required=True),
        "GET /v1/orders: query parameter limit is required now; breaks HTTP clients",
    ),
    "a parameter is removed": (
        lambda d: operation(d, ORDERS, "get")["parameters"].pop(0),
        "GET /v1/orders: query parameter limit is removed; breaks HTTP clients",
    ),
    "a success is answered otherwise": (
        lambda d: operation(d, ORDERS)["responses"].update(
            {"201": operation(d, ORDERS)["responses"].pop("202")}
        ),
        "POST /v1/orders: 202 is answered no more; breaks HTTP clients",
    ),
    "an answer lacks a member": (
        lambda d: schema(d, "OrderPage")["required"].remove("next"),
        "GET /v1/orders: answer 200: next may be missing now; breaks HTTP clients",
    ),
    "another scope is demanded": (
        lambda d: operation(d, ORDERS).update(security=[{"oauth2": ["orders:all"]}]),
        (
            "POST /v1/orders: it is not enough any more to come with: oauth2 (orders:write); "
            "breaks HTTP clients"
        ),
    ),
}
HTTP_HARMLESS: Final[dict[str, Change]] = {
    "nothing": lambda _: None,
    "an operation is added": lambda d: d["paths"].update({"/v2/orders": d["paths"][ORDERS]}),
    "another refusal is answered": lambda d: operation(d, ORDERS)["responses"].update({"418": {}}),
    "a parameter is added": lambda d: operation(d, ORDERS, "get")["parameters"].append(
        {"in": "query", "name": "state", "required": False, "schema": {"type": "string"}}
    ),
    "another way in is opened": lambda d: operation(d, ORDERS)["security"].append({"cookie": []}),
}


@pytest.mark.parametrize("name", HTTP_BREAKING)
def test_it_is_said_what_breaks_http_clients_where(name: str) -> None:
    change, line = HTTP_BREAKING[name]
    after = copy.deepcopy(HTTP_BEFORE)

    change(after)

    assert line in [str(each) for each in http_breaks(HTTP_BEFORE, after)]


@pytest.mark.parametrize("name", HTTP_HARMLESS)
def test_no_http_client_breaks_where(name: str) -> None:
    after = copy.deepcopy(HTTP_BEFORE)

    HTTP_HARMLESS[name](after)

    assert http_breaks(HTTP_BEFORE, after) == []
