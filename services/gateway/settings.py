"""The settings of the gateway."""

import re
from typing import Annotated, Final, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from messaging.backlog import LIMIT
from messaging.sharding import ShardBy, Sharding
from services.declared import read_all_declared
from services.gateway.parts import GatewayOptions
from services.settings import ServiceSettings
from services.web.settings import ORIGIN, WebSettings, listed

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-]+(:[0-9]{1,5})?")


class GatewaySettings(WebSettings, ServiceSettings):
    """What the gateway needs to know."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins whose pages may call, separated by commas; none by default"
    )
    heartbeat: float = Field(
        default=10, gt=0, le=60, description="Seconds between signs of life on a silent stream"
    )
    publish_deadline: float = Field(
        default=5, gt=0, le=60, description="Seconds for the broker to confirm a command"
    )
    orders_shard_by: ShardBy = Field(
        default="order", description="What stays in one shard: an order, or a subject"
    )
    playground: bool = Field(
        default=False,
        description="Let users tamper with messages of their own, to see them stopped",
    )
    publish_backlog: int = Field(
        default=LIMIT, ge=1, le=100_000, description="Messages that wait for the broker at most"
    )

    console_url: str | None = Field(
        default=None,
        max_length=200,
        pattern=ORIGIN,
        description="Where the operators' console is, https://host: /console leads there; else "
        "nowhere",
    )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return listed(value)

    @model_validator(mode="after")
    def _origins(self) -> Self:
        if any(_ORIGIN.fullmatch(origin) is None for origin in self.cors_origins):
            raise ValueError(
                "CARNET_CORS_ORIGINS: an origin has the form https://host or http://host:port, "
                "never *"
            )
        return self

    def options(self) -> GatewayOptions:
        """What of this the app needs."""
        return GatewayOptions(
            public_url=self.address,
            cors_origins=self.cors_origins,
            trusted_proxies=self.trusted_proxies,
            heartbeat=self.heartbeat,
            rpc_deadline=self.rpc_deadline,
            publish_deadline=self.publish_deadline,
            publish_backlog=self.publish_backlog,
            playground=self.playground,
            console_url=self.console_url,
            sharding=Sharding(self.orders_shards, self.orders_shard_by),
            declared=read_all_declared(self.services),
        )
