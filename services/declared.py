"""Services of one's own: what the others must know of one, as its `service.toml` declares it.

From it follow its rights in the key set statement and at the broker, its queue, the commands that
the gateway takes for it, and the scopes that roles give for it.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from auth.claims import ClientId, Scope
from auth.message import Route
from messaging.contract import Command
from messaging.topology import (
    CLOCK,
    COMMANDS,
    DEAD,
    EVENTS,
    REPLY,
    RETRY,
    RPC,
    TRUST,
    Exchange,
    Topology,
    WorkQueue,
)
from services.contracts import orders
from services.contracts.clients import CLIENTS, Grant
from services.contracts.rights import (
    ANY_KEY,
    RIGHTS,
    Pattern,
    Rights,
    counted_of,
    own_queues,
)
from services.contracts.scopes import ROLES
from services.contracts.topology import GATEWAY, OPERATOR_DESK, ORDER_SERVICE, USER_SERVICE
from services.contracts.users import ClientCredentials, GetKeySet, GetRevocations
from services.contracts.users import Exchange as ExchangeToken
from services.errors import StartError

FILE: Final = "service.toml"
LONGEST: Final = timedelta(hours=24)
"""How long a command may wait: revocations are kept for no longer (docs/wire-contract.md)."""

_VERSION: Final = re.compile(r"\.v[0-9]+$")

MessageType = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9-]*(\.[a-z][a-z0-9_-]*)+\.v[0-9]+$",
        max_length=100,
        description="Type and version; its routing key is the type without the version.",
        examples=["billing.refund.v1"],
    ),
]
Scopes = Annotated[frozenset[Scope], Field(min_length=1)]

_GIVEN: Final = frozenset[str]().union(*ROLES.values())
_PUBLISHED: Final = frozenset[str]().union(*(grant.publishes for grant in CLIENTS.values()))
TAKEN: Final = frozenset(each.split(".")[0] for each in _PUBLISHED) | frozenset(
    scope.split(":")[0] for scope in _GIVEN
)
"""How types and scopes of this system begin: so no other service is called, nor begin its own."""

_COMMANDS: Final = {
    ORDER_SERVICE: frozenset(
        each.route.type
        for each in vars(orders).values()
        if isinstance(each, type) and issubclass(each, Command) and each is not Command
    )
}
"""What others may be let send to the services of this system."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TakenCommand(_Part):
    """A command that users give through the gateway.

    scopes: of the user's access token, and of the carnet that it travels with.
    wanted_for: seconds that it may wait for the service.
    """

    scopes: Scopes
    wanted_for: Annotated[int, Field(ge=1, le=int(LONGEST.total_seconds()))] = 3600


class DeclaredService(_Part):
    """One `service.toml`.

    client: its client id, and its login at the broker.
    commands: that it takes from users, by type.
    events: that it tells. Nobody else may tell these.
    hears: events of others that it acts on.
    onward: commands that it gives to other services, by their client id.
    roles: scopes that a role gives besides its own.
    """

    client: ClientId
    commands: dict[MessageType, TakenCommand] = Field(default_factory=dict)
    events: frozenset[MessageType] = frozenset()
    hears: frozenset[MessageType] = frozenset()
    onward: dict[ClientId, frozenset[MessageType]] = Field(default_factory=dict)
    roles: dict[str, Scopes] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _of_its_own(self) -> "DeclaredService":
        if self.client in CLIENTS:
            raise ValueError(f"{self.client} is a service of this system: take another name")
        if self.client in TAKEN:
            raise ValueError(f"{self.client}: types of this system begin so: take another name")
        unknown = sorted(self.roles.keys() - ROLES.keys())
        if unknown:
            raise ValueError(f"no role {', '.join(unknown)}: there are {', '.join(ROLES)}")
        theirs = sorted(
            each for each in (*self.commands, *self.events) if self.prefix != each.split(".")[0]
        )
        if theirs:
            raise ValueError(f"{theirs[0]}: its own types begin with {self.prefix}.")
        if both := sorted(self.commands.keys() & self.events):
            raise ValueError(f"{both[0]}: is a command or an event: two types, two names")
        given = frozenset[str]().union(*self.roles.values())
        if others := sorted(each for each in given if not each.startswith(f"{self.client}:")):
            raise ValueError(
                f"{others[0]}: a role gives scopes of its own for it, beginning with {self.client}:"
            )
        self._check_onward()
        return self

    def _check_onward(self) -> None:
        for to, types in self.onward.items():
            for each in sorted(types):
                if to in CLIENTS and each not in _COMMANDS.get(to, frozenset()):
                    taken = ", ".join(sorted(_COMMANDS.get(to, ()))) or "no commands of others"
                    raise ValueError(f"{each}: {to} takes {taken}: leave it out of onward")
                if to not in CLIENTS and each.split(".")[0] in TAKEN:
                    raise ValueError(f"{each}: is this system's own, and not {to}'s to take")

    @property
    def prefix(self) -> str:
        """How the types of its own messages begin."""
        return self.client

    @property
    def queue(self) -> WorkQueue:
        """Its work: commands that it takes, events that it hears."""
        return WorkQueue(f"{self.client}.commands")

    @property
    def topology(self) -> Topology:
        """What it works with."""
        return Topology(
            exchanges=(COMMANDS, EVENTS, RPC, REPLY, RETRY, DEAD, TRUST, CLOCK),
            queues=self.queue.queues(),
            bindings=(
                *self.queue.serving(COMMANDS, *_keys(self.commands)),
                *self.queue.serving(EVENTS, *_keys(self.hears)),
                *self.queue.bindings(),
            ),
        )

    @property
    def grant(self) -> Grant:
        """What the key set statement gives it."""
        asks = (ClientCredentials, ExchangeToken, GetKeySet, GetRevocations)
        return Grant(
            publishes=self.events | self._given | {each.route.type for each in asks},
            exchanges=frozenset(self.onward),
        )

    @property
    def rights(self) -> Rights:
        """What its login may do at the broker."""
        publishes: dict[Exchange, Pattern] = {
            RPC: ANY_KEY,
            RETRY: ANY_KEY,
            DEAD: ANY_KEY,
            CLOCK: ANY_KEY,
        }
        if self._given:
            publishes[COMMANDS] = Pattern(_keys(self._given))
        if self.events:
            publishes[EVENTS] = Pattern(_keys(self.events))
        replies = Pattern(beginning=(own_queues(self.client),))
        return Rights(
            consumes=(self.queue.name,),
            publishes=publishes,
            subscribes={REPLY: replies, TRUST: ANY_KEY, CLOCK: ANY_KEY},
        )

    @property
    def _given(self) -> frozenset[str]:
        return frozenset[str]().union(*self.onward.values())


Declared = tuple[DeclaredService, ...]


def route_of(message_type: str, exchange: Exchange = COMMANDS) -> Route:
    """Where messages of a type belong, by the rule that all declared services keep."""
    return Route(exchange.name, _key(message_type), message_type)


def _key(message_type: str) -> str:
    return _VERSION.sub("", message_type)


def _keys(types: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(map(_key, types)))


def read_declared(path: Path) -> DeclaredService:
    """Read one `service.toml`.

    Raises:
        StartError: it cannot be read, or is none; says what is wrong where.
    """
    try:
        return DeclaredService.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        said = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ")
            for fault in faults
        )
        raise StartError(f"{path}: {said}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StartError(f"{path}: cannot be read: {error}") from error


DECLARED: Final = "services"
"""The folder of a local stack's state that they are in."""


def read_all_declared(folder: Path | None) -> Declared:
    """Every `*.toml` of a folder, in the order of their names; none where there is no folder.

    Raises:
        StartError: one cannot be read, two are of one client, or one would send what another tells
            or takes from elsewhere.
    """
    if folder is None or not folder.is_dir():
        return ()
    declared = tuple(read_declared(path) for path in sorted(folder.glob("*.toml")))
    clients = [each.client for each in declared]
    if len(set(clients)) < len(clients):
        raise StartError(f"{folder}: two of its files declare the same client: remove one")
    for service in declared:
        _check_beside(service, declared, folder)
    return declared


def _check_beside(service: DeclaredService, declared: Declared, folder: Path) -> None:
    """An event that two may tell is believed of neither; a command has one receiver.

    Raises:
        StartError: the service's `onward` is not so.
    """
    tellers = {each: other.client for other in declared for each in other.events}
    takers = {each: other.client for other in declared for each in other.commands}
    for to, types in service.onward.items():
        for each in sorted(types):
            if (teller := tellers.get(each)) is not None:
                raise StartError(
                    f"{folder}: {service.client} sends {each}, which is an event that {teller} "
                    f"alone tells: take it out of its onward"
                )
            if (taker := takers.get(each, to)) != to:
                raise StartError(
                    f"{folder}: {service.client} sends {each} to {to}, and {taker} takes it: "
                    f"name {taker} in its onward"
                )


def grants_with(declared: Declared) -> dict[str, Grant]:
    """What the statement gives every service, where these are there as well."""
    gateway = CLIENTS[GATEWAY]
    taking = [each for each in declared if each.commands]
    widened = replace(
        gateway,
        publishes=gateway.publishes.union(*(each.commands for each in taking)),
        exchanges=gateway.exchanges | {each.client for each in taking},
    )
    return {**CLIENTS, GATEWAY: widened, **{each.client: each.grant for each in declared}}


def rights_with(declared: Declared) -> dict[str, Rights]:
    """Everybody's rights at the broker, where these are there as well."""
    users, gateway, desk = (RIGHTS[each] for each in (USER_SERVICE, GATEWAY, OPERATOR_DESK))
    answered = tuple(own_queues(each.client) for each in declared)
    commands = tuple(key for each in declared for key in _keys(each.commands))
    replies = _widened(users.publishes, REPLY, Pattern(beginning=answered))
    taken = _widened(gateway.publishes, COMMANDS, Pattern(commands))
    return {
        **RIGHTS,
        USER_SERVICE: replace(users, publishes=replies),
        GATEWAY: replace(gateway, publishes=taken),
        OPERATOR_DESK: replace(
            desk,
            consumes=(*desk.consumes, *(each.queue.dead for each in declared)),
            counts=sum((counted_of(each.queue) for each in declared), start=desk.counts),
        ),
        **{each.client: each.rights for each in declared},
    }


def _widened(
    publishes: Mapping[Exchange, Pattern], exchange: Exchange, by: Pattern
) -> dict[Exchange, Pattern]:
    return {**publishes, exchange: publishes[exchange] + by}


def roles_with(declared: Declared) -> dict[str, frozenset[str]]:
    """What each role gives, where these services are there as well."""
    return {
        role: given.union(*(each.roles.get(role, frozenset()) for each in declared))
        for role, given in ROLES.items()
    }


def topology_with(topology: Topology, declared: Declared) -> Topology:
    """The whole system's, with theirs."""
    return sum((each.topology for each in declared), start=topology)
