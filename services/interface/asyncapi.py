"""The AsyncAPI 3.0 document: what travels over the broker, where, by whom, for whom."""

import importlib.metadata
from typing import Any, Final

from auth.seal import MAX_REQUEST_AGE
from messaging.envelope import JOSE, JSON
from messaging.topology import REPLY, TRUST
from services.contracts.topology import TOPOLOGY, USER_SERVICE
from services.interface.channels import BINDING, KINDS, channels, operations, topology
from services.interface.messages import Message, messages
from services.interface.schemas import (
    COMPACT_JWS,
    TOKENS,
    TRUST_FEED,
    Schema,
    body_schema,
    claims_schema,
    headers_schema,
    reply_schema,
)

DESCRIPTION: Final = """\
Trust travels with each message: a carnet says who asks, a seal binds it to this one message. What
must be checked, in which order, and what each refusal is called stands in `wire-contract.md`; how
to take part in another language, in `integrate.md`.

`x-carnet` on a message is what its receiver demands; `x-carnet-topology` are the broker's objects.
"""
ANYBODY: Final = "any relying party"


def asyncapi() -> Schema:
    """The whole document; the same code gives the same one."""
    known = messages()
    schemas = _Schemas()
    described = {name: body for each in known for name, body in _messages_of(each, schemas).items()}
    described |= {token: _statement(token, schemas) for token in TRUST_FEED}
    for token in TOKENS:
        schemas.add(_claims_name(token.name), claims_schema(token))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Carnet",
            "version": importlib.metadata.version("carnet"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "servers": {
            "broker": {
                "host": "localhost:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "RabbitMQ 3.10 to 4.3; each client has a login of its own.",
                "security": [{"$ref": "#/components/securitySchemes/login"}],
            }
        },
        "channels": channels(known),
        "operations": operations(known),
        "components": {
            "messages": dict(sorted(described.items())),
            "schemas": dict(sorted(schemas.found.items())),
            "securitySchemes": {
                "login": {
                    "type": "userPassword",
                    "description": "Name and password, or a broker token as the password.",
                }
            },
        },
        "x-carnet-topology": topology(TOPOLOGY),
    }


class _Schemas:
    """`components.schemas`: each definition once, whoever refers to it."""

    def __init__(self) -> None:
        self.found: dict[str, Schema] = {}

    def add(self, name: str, schema: Schema) -> Schema:
        """Put `schema` there, its definitions beside it; what refers to it."""
        definitions = schema.pop("$defs", {})
        prefix = f"{name}."  # the same model reads otherwise than it writes
        for inner, definition in definitions.items():
            self.found[prefix + inner] = _moved(definition, prefix)
        self.found[name] = _moved(schema, prefix)
        return {"$ref": f"#/components/schemas/{name}"}


def _moved(value: Any, prefix: str) -> Any:
    if isinstance(value, list):
        return [_moved(each, prefix) for each in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), str):
        name = value["$ref"].removeprefix("#/$defs/")
        return value | {"$ref": f"#/components/schemas/{prefix}{name}"}
    return {key: _moved(inner, prefix) for key, inner in value.items()}


def _messages_of(message: Message, schemas: _Schemas) -> dict[str, Schema]:
    carnet = message.policy is not None and message.policy.needs_carnet
    headers = schemas.add(
        f"headers.{KINDS[message.kind]}{'.carnet' if carnet else ''}",
        headers_schema(carnet=carnet, command=message.kind == "cmd"),
    )
    summary, _, more = (message.contract.__doc__ or "").strip().partition("\n")
    rules = {
        "kind": message.kind,
        "exchange": message.contract.route.exchange,
        "routing_key": message.contract.route.routing_key,
        "publishers": list(message.publishers),
        "receivers": list(message.receivers),
        "carnet": carnet,
        "scopes": sorted(message.policy.scopes) if message.policy else [],
        "carnet_judged": _carnet_judged(message, carnet=carnet),
        "max_age": message.max_age,
        "encrypted": message.encrypted,
    }
    found = {
        message.type: {
            "name": message.type,
            "title": message.contract.__name__,
            "summary": summary,
            **({"description": _dedent(more)} if more.strip() else {}),
            "contentType": JOSE if message.encrypted else JSON,
            "headers": headers,
            "payload": schemas.add(message.type, body_schema(message)),
            "bindings": {"amqp": {"messageType": message.type, "bindingVersion": BINDING}},
            "x-carnet": rules,
        }
    }
    if message.kind == "req":
        name = f"{message.type}.reply"
        found[name] = {
            "name": name,
            "title": f"{message.contract.__name__}Reply",
            "summary": f"The answer to {message.type}.",
            "contentType": JOSE if message.encrypted else JSON,
            "headers": schemas.add("headers.reply", headers_schema(carnet=False)),
            "payload": schemas.add(name, reply_schema(message)),
            "bindings": {"amqp": {"messageType": name, "bindingVersion": BINDING}},
            "x-carnet": {
                "kind": "rep",
                "exchange": REPLY.name,
                "routing_key": None,
                "publishers": list(message.receivers),
                "receivers": list(message.publishers),
                "carnet": False,
                "scopes": [],
                "carnet_judged": None,
                "max_age": MAX_REQUEST_AGE,
                "encrypted": message.encrypted,
            },
        }
    return found


def _carnet_judged(message: Message, *, carnet: bool) -> str | None:
    """When the carnet must be unexpired: as the work is done, or as it was accepted."""
    if not carnet or message.expiry is None:
        return None
    return "at_processing" if message.expiry.carnet_judged_now else "at_acceptance"


def _dedent(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def _statement(name: str, schemas: _Schemas) -> Schema:
    token = next(each for each in TOKENS if each.name == name)
    summary = (token.claims.__doc__ or "").strip().partition("\n")[0]
    return {
        "name": token.typ,
        "title": token.claims.__name__,
        "summary": summary,
        "contentType": JOSE,
        "payload": schemas.add(
            f"statement.{name}",
            {
                "type": "string",
                "pattern": COMPACT_JWS,
                "description": f"A compact JWS of the {token.signer}'s, of the `typ` {token.typ}.",
                "x-carnet-claims": f"#/components/schemas/{_claims_name(name)}",
            },
        ),
        "bindings": {"amqp": {"messageType": token.typ, "bindingVersion": BINDING}},
        "x-carnet": {
            "kind": "statement",
            "exchange": TRUST.name,
            "routing_key": "",
            "publishers": [USER_SERVICE],
            "receivers": [ANYBODY],
            "carnet": False,
            "scopes": [],
            "carnet_judged": None,
            "max_age": None,
            "encrypted": False,
        },
    }


def _claims_name(token: str) -> str:
    return f"claims.{token}"
