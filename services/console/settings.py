"""The settings of the console."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from services.console.parts import ConsoleOptions
from services.declared import read_all_declared
from services.operations.watching import Watch
from services.web.settings import WebSettings, listed


class ConsoleSettings(WebSettings):
    """What the console needs to know. It has no database."""

    console_watches: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Services to look at, as name=http://host:port of their health and metrics, "
        "separated by commas; none by default",
    )

    @field_validator("console_watches", mode="before")
    @classmethod
    def _watches(cls, value: object) -> object:
        return listed(value)

    @field_validator("console_watches")
    @classmethod
    def _named_once(cls, watches: tuple[str, ...]) -> tuple[str, ...]:
        if len({Watch.parse(each).name for each in watches}) < len(watches):
            raise ValueError("a name stands for one service: give each its own")
        return watches

    def options(self) -> ConsoleOptions:
        """What of this the app needs."""
        return ConsoleOptions(
            public_url=self.address,
            trusted_proxies=self.trusted_proxies,
            rpc_deadline=self.rpc_deadline,
            watches=tuple(map(Watch.parse, self.console_watches)),
            shards=self.orders_shards,
            declared=read_all_declared(self.services),
        )
