"""The scenes: on which databases, and on which broker, an act is played."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tests.chaos.broker import ChaosBroker, ClusterBroker, SingleBroker
from tests.chaos.databases import Databases, PostgresDatabases, SqliteDatabases
from tests.engine import POSTGRES_IMAGE, RABBITMQ_IMAGE

Scene = Literal["postgres", "sqlite", "cluster"]


@dataclass(frozen=True)
class Scenery:
    """How the parts of a scene are made, each in a folder of its own.

    image: what it needs of a container engine, if anything.
    """

    databases: Callable[[Path], Databases]
    broker: Callable[[Path], ChaosBroker]
    image: str | None = None


SCENES: Final[dict[Scene, Scenery]] = {
    "postgres": Scenery(lambda _: PostgresDatabases(), SingleBroker, POSTGRES_IMAGE),
    "sqlite": Scenery(SqliteDatabases, SingleBroker),
    "cluster": Scenery(SqliteDatabases, ClusterBroker, RABBITMQ_IMAGE),
}
