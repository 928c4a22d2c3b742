"""The settings of the gateway."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from messaging.backlog import LIMIT
from messaging.sharding import ShardBy, Sharding
from services.declared import read_all_declared
from services.gateway.parts import GatewayOptions
from services.settings import ServiceSettings, is_loopback

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-]+(:[0-9]{1,5})?")

_EVERYWHERE: Final = {"0.0.0.0": "localhost", "::": "localhost"}  # noqa: S104 - not bound, named


class GatewaySettings(ServiceSettings):
    """What the gateway needs to know."""

    public_url: str | None = Field(
        default=None,
        max_length=200,
        pattern=r"^https?://[^/?#\s]+$",
        description="Where clients reach the gateway, https://host; else http://HOST:PORT",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins whose pages may call, separated by commas; none by default"
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="Proxies whose Forwarded or X-Forwarded-For is believed, as networks "
        "(10.0.0.7, 10.0.1.0/24), separated by commas; none by default",
    )
    heartbeat: float = Field(
        default=10, gt=0, le=60, description="Seconds between signs of life on a silent stream"
    )
    rpc_deadline: float = Field(
        default=5, gt=0, le=60, description="Seconds for a service to answer a question"
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

    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port for /metrics and /health, apart from the public one; none by default",
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address to listen on there")

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(origin.strip() for origin in value.split(",") if origin.strip())
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        networks = cls._split(value)
        if isinstance(networks, tuple):
            return tuple(ip_network(each) for each in networks)
        return networks

    @model_validator(mode="after")
    def _origins(self) -> Self:
        if any(_ORIGIN.fullmatch(origin) is None for origin in self.cors_origins):
            raise ValueError(
                "CARNET_CORS_ORIGINS: an origin has the form https://host or http://host:port, "
                "never *"
            )
        return self

    def doubts(self) -> Iterator[str]:
        yield from super().doubts()
        url = urlsplit(self.options().public_url)
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            yield (
                f"CARNET_PUBLIC_URL: passwords and tokens travel in the clear to {url.hostname}; "
                "let it be an https:// address"
            )

    @property
    def _reachable_host(self) -> str:
        host = _EVERYWHERE.get(self.host, self.host)
        return f"[{host}]" if ":" in host else host

    def options(self) -> GatewayOptions:
        """What of this the app needs."""
        return GatewayOptions(
            public_url=self.public_url or f"http://{self._reachable_host}:{self.port}",
            cors_origins=self.cors_origins,
            trusted_proxies=self.trusted_proxies,
            heartbeat=self.heartbeat,
            rpc_deadline=self.rpc_deadline,
            publish_deadline=self.publish_deadline,
            publish_backlog=self.publish_backlog,
            playground=self.playground,
            sharding=Sharding(self.orders_shards, self.orders_shard_by),
            declared=read_all_declared(self.services),
        )
