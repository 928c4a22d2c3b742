"""RabbitMQ's definitions file: logins, rights and topology of a broker that runs Carnet.

A broker that starts empty with it has these logins and no other, so no guest.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from messaging.topology import Topology
from services.contracts.rights import TOPIC_EXCHANGES, Pattern, Rights, own_queues
from services.contracts.topology import whole_topology
from services.declared import Declared, rights_with, topology_with
from services.local.logins import OPERATOR, Login

Entry = dict[str, Any]
EVERYTHING = ".*"


def generate_logins(declared: Declared = ()) -> dict[str, Login]:
    """A login with a fresh password for each service, and one for the operator."""
    return {name: Login.generate(name) for name in (*rights_with(declared), OPERATOR)}


def operator_definitions(operator: Login, vhost: str = "/") -> Entry:
    """A broker with nothing in it but the operator, who may do anything."""
    return {
        "users": [operator.definition("administrator")],
        "vhosts": [{"name": vhost}],
        "permissions": [_permission(operator.name, vhost, EVERYTHING, EVERYTHING, EVERYTHING)],
    }


def stack_definitions(
    logins: Mapping[str, Login], vhost: str = "/", *, shards: int = 1, declared: Declared = ()
) -> Entry:
    """The whole system's: each service's login with its rights, and the topology.

    A service that has none among `logins` has none at the broker: it comes with a token.
    shards: of the order consumer's work.   declared: services of one's own beside the others.
    """
    everybody = rights_with(declared).items()
    entries = operator_definitions(logins[OPERATOR], vhost)
    with_login = {client: rights for client, rights in everybody if client in logins}
    for client, rights in with_login.items():
        entries["users"].append(logins[client].definition())
        entries["permissions"].append(_permission_of(client, rights, vhost))
    return {
        **entries,
        "topic_permissions": [
            permission
            for client, rights in with_login.items()
            for permission in _topic_permissions_of(client, rights, vhost)
        ],
        **_topology(topology_with(whole_topology(shards), declared), vhost),
    }


def _permission(user: str, vhost: str, configure: str, write: str, read: str) -> Entry:
    return {"user": user, "vhost": vhost, "configure": configure, "write": write, "read": read}


def _permission_of(client: str, rights: Rights, vhost: str) -> Entry:
    own = (own_queues(client),)
    # Binding a queue writes to it, and reads from the exchange.
    return _permission(
        client,
        vhost,
        Pattern(beginning=own).regex(),
        (Pattern(_names(rights.publishes), own) + rights.counts).regex(),
        Pattern(
            (*rights.consumes, *_names(rights.subscribes)), (*own, *rights.consumes_shards)
        ).regex(),
    )


def _names(exchanges: Iterable[Any]) -> tuple[str, ...]:
    return tuple(exchange.name for exchange in exchanges)


def _topic_permissions_of(client: str, rights: Rights, vhost: str) -> list[Entry]:
    # One for every topic exchange: a login without may use every routing key.
    return [
        {
            "user": client,
            "vhost": vhost,
            "exchange": exchange.name,
            "write": rights.publishes.get(exchange, Pattern()).regex(),
            "read": rights.subscribes.get(exchange, Pattern()).regex(),
        }
        for exchange in TOPIC_EXCHANGES
    ]


def _topology(topology: Topology, vhost: str) -> Entry:
    durable = {"vhost": vhost, "durable": True, "auto_delete": False}
    return {
        "exchanges": [
            {
                **durable,
                "name": each.name,
                "type": each.kind,
                "internal": False,
                "arguments": each.arguments,
            }
            for each in topology.exchanges
        ],
        "queues": [
            {**durable, "name": each.name, "arguments": dict(each.arguments)}
            for each in topology.queues
        ],
        "bindings": [
            {
                "vhost": vhost,
                "source": each.exchange,
                "destination": each.destination,
                "destination_type": each.kind,
                "routing_key": each.routing_key,
                "arguments": each.arguments,
            }
            for each in topology.bindings
        ],
    }
