"""`carnet migrate`: bring one service's database up to date, without running the service."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import Field, SecretStr
from rich.console import Console

import services
from messaging.migrations import upgrade
from services.settings import Settings, read_settings

_FOLDER: Final = Path(services.__file__).parent


class Service(StrEnum):
    """The services that own a database."""

    USERS = "users"
    GATEWAY = "gateway"
    ORDERS = "orders"


class MigrationSettings(Settings):
    """What `carnet migrate` reads from the environment."""

    database_url: SecretStr = Field(description="The service's own database, as SQLAlchemy URL")


def migrate(
    service: Annotated[Service, typer.Argument(help="Whose database CARNET_DATABASE_URL names.")],
) -> None:
    """Bring a service's database up to date; each also does so at its own start.

    CARNET_DATABASE_URL=postgresql+asyncpg://…/orders carnet migrate orders
    """
    settings = read_settings(MigrationSettings)
    url = settings.database_url.get_secret_value()
    asyncio.run(upgrade(url, _FOLDER / service.value / "migrations"))
    Console(stderr=True, highlight=False).print(f"{service.value}: the database is up to date")
