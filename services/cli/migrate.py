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
from services.cli.answer import Json, print_json
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
    *,
    json_output: Json = False,
) -> None:
    """Bring a service's database up to date; each also does so at its own start.

    Examples:
      CARNET_DATABASE_URL=postgresql+asyncpg://…/orders carnet migrate orders
      CARNET_DATABASE_URL_FILE=/run/secrets/database_url carnet migrate orders --json
    """
    settings = read_settings(MigrationSettings)
    url = settings.database_url.get_secret_value()
    asyncio.run(upgrade(url, _FOLDER / service.value / "migrations"))
    if json_output:
        print_json({"service": service.value, "up_to_date": True})
    else:
        Console(stderr=True, highlight=False).print(f"{service.value}: the database is up to date")
