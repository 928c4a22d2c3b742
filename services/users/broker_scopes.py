"""A client's rights at the broker as scopes of RabbitMQ's OAuth 2 plugin.

`<resource>.<configure|write|read>:<virtual host>/<name>`, and for a topic exchange a third part,
`/<routing key>`: without one the plugin refuses every key of that exchange. Each part is a pattern.
"""

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from messaging.topology import Exchange
from services.contracts.rights import Pattern, Rights, own_queues


def broker_scopes(client: str, rights: Rights, *, resource: str, vhost: str) -> tuple[str, ...]:
    """What the client may do, as a password login of the same name might.

    resource: the plugin's `resource_server_id`.   vhost: the one that all of it is in.
    """
    own = Pattern(beginning=(own_queues(client),)).wildcards()
    consumed = Pattern(rights.consumes, rights.consumes_shards).wildcards()
    # Binding a queue writes to it, and reads from the exchange.
    allowed = {
        "configure": own,
        "write": (*own, *rights.counts.wildcards(), *_exchanges(rights.publishes)),
        "read": (*own, *consumed, *_exchanges(rights.subscribes)),
    }
    place = quote(vhost, safe="")
    return tuple(
        f"{resource}.{act}:{place}/{what}" for act, names in allowed.items() for what in names
    )


def _exchanges(keys: Mapping[Exchange, Pattern]) -> Iterator[str]:
    for exchange, pattern in keys.items():
        name = quote(exchange.name, safe="")
        if exchange.kind == "topic":
            yield from (f"{name}/{key}" for key in pattern.wildcards())
        else:
            yield name
