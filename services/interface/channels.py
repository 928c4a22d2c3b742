"""Where messages travel, in AsyncAPI's words: channels, operations, and the broker's objects.

A channel is what is published to (an exchange, under a routing key) or what a service consumes from
(a queue); an operation is one client's sending or taking of one type.
"""

from collections.abc import Iterable
from typing import Final

from messaging.topology import REPLY, TRUST, Exchange, Topology
from services.contracts.topology import TOPOLOGY, USER_SERVICE
from services.interface.messages import Message
from services.interface.schemas import TRUST_FEED, Schema

BINDING: Final = "0.3.0"
"""Version of AsyncAPI's AMQP bindings."""
REPLIES: Final = "replies"
TRUST_CHANNEL: Final = "trust"

KINDS: Final = {"cmd": "command", "req": "request", "rep": "reply", "evt": "event"}


def channels(known: Iterable[Message]) -> Schema:
    """All channels, by routing key or queue."""
    found: Schema = {}
    for message in known:
        route = message.contract.route
        exchange = next(each for each in TOPOLOGY.exchanges if each.name == route.exchange)
        sent_to = found.setdefault(
            route.routing_key,
            _channel(
                route.routing_key, f"What is published there: {KINDS[message.kind]}s.", exchange
            ),
        )
        sent_to["messages"][message.type] = _message(message.type)
        if message.queue is not None and message.queue != route.routing_key:
            queue = found.setdefault(message.queue, _queue_channel(message.queue))
            queue["messages"][message.type] = _message(message.type)
    replies = _channel(None, "Each process's own queue, `carnet.<client>.<random>`.", REPLY)
    replies["messages"] = {
        f"{message.type}.reply": _message(f"{message.type}.reply")
        for message in known
        if message.kind == "req"
    }
    trust = _channel(TRUST.name, "The trust feed: what the issuer tells everybody.", TRUST)
    trust["messages"] = {name: _message(name) for name in TRUST_FEED}
    found |= {REPLIES: replies, TRUST_CHANNEL: trust}
    return dict(sorted(found.items()))


def _message(name: str) -> Schema:
    return {"$ref": f"#/components/messages/{name}"}


def _channel(address: str | None, description: str, exchange: Exchange) -> Schema:
    """One that is published to: an exchange, under a routing key, which is the address."""
    return {
        "address": address,
        "description": description,
        "messages": {},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": exchange.name,
                    "type": exchange.kind,
                    "durable": True,
                    "autoDelete": False,
                },
                "bindingVersion": BINDING,
            }
        },
    }


def _queue_channel(name: str) -> Schema:
    return {
        "address": name,
        "description": "The queue that its service consumes from.",
        "messages": {},
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {
                    "name": name,
                    "durable": True,
                    "exclusive": False,
                    "autoDelete": False,
                },
                "bindingVersion": BINDING,
            }
        },
    }


def operations(known: Iterable[Message]) -> Schema:
    """All operations, by client, verb and type."""
    return {name: body for each in known for name, body in _of(each).items()} | _trust_operations()


def _of(message: Message) -> Schema:
    route = message.contract.route
    reply = _reply(message) if message.kind == "req" else {}
    sent = {
        f"{client}.send.{message.type}": _operation("send", route.routing_key, message, client)
        | reply
        for client in message.publishers
    }
    taken_from = message.queue or route.routing_key
    taken = {
        f"{client}.receive.{message.type}": _operation("receive", taken_from, message, client)
        | reply
        for client in message.receivers
    }
    return sent | taken


def _operation(action: str, channel: str, message: Message, client: str) -> Schema:
    verb = "sends" if action == "send" else "takes"
    return {
        "action": action,
        "summary": f"{client} {verb} {message.type}.",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message.type}"}],
    }


def _reply(message: Message) -> Schema:
    return {
        "reply": {
            "address": {
                "location": "$message.header#/reply_to",
                "description": "The AMQP property `reply_to`, which the seal names as `rt`.",
            },
            "channel": {"$ref": f"#/channels/{REPLIES}"},
            "messages": [{"$ref": f"#/channels/{REPLIES}/messages/{message.type}.reply"}],
        }
    }


def _trust_operations() -> Schema:
    told = [{"$ref": f"#/channels/{TRUST_CHANNEL}/messages/{name}"} for name in TRUST_FEED]
    channel = {"$ref": f"#/channels/{TRUST_CHANNEL}"}
    return {
        f"{USER_SERVICE}.send.trust": {
            "action": "send",
            "summary": "The issuer tells its statements, and a heartbeat every 2 s.",
            "channel": channel,
            "messages": told,
        },
        "relying-party.receive.trust": {
            "action": "receive",
            "summary": "Every relying party hears them, on a queue of its own.",
            "channel": channel,
            "messages": told,
        },
    }


def topology(topology: Topology) -> Schema:
    """The broker's objects, as RabbitMQ is told of them."""
    return {
        "exchanges": {
            each.name: {"type": each.kind, "arguments": each.arguments}
            for each in sorted(topology.exchanges, key=lambda exchange: exchange.name)
        },
        "queues": {
            each.name: dict(sorted(each.arguments.items()))
            for each in sorted(topology.queues, key=lambda queue: queue.name)
        },
        "bindings": sorted(
            f"{each.exchange} --{each.routing_key}--> {each.destination}"
            for each in topology.bindings
        ),
    }
