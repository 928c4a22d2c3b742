"""What every process over HTTP is told that people reach by a browser: its address, its proxies."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from services.settings import ProcessSettings, is_loopback

ORIGIN: Final = r"^https?://[^/?#\s]+$"
"""Scheme, host, port; no path."""

_EVERYWHERE: Final = {"0.0.0.0": "localhost", "::": "localhost"}  # noqa: S104 - not bound, named


def listed(value: object) -> object:
    """The parts of a text between commas; anything else as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class WebSettings(ProcessSettings):
    """The settings of a process that browsers ask."""

    public_url: str | None = Field(
        default=None,
        max_length=200,
        pattern=ORIGIN,
        description="Where clients reach it, https://host; else http://HOST:PORT",
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="Proxies whose Forwarded or X-Forwarded-For is believed, as networks "
        "(10.0.0.7, 10.0.1.0/24), separated by commas; none by default",
    )
    rpc_deadline: float = Field(
        default=5, gt=0, le=60, description="Seconds for a service to answer a question"
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port for /metrics and /health, apart from the public one; none by default",
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address to listen on there")

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        networks = listed(value)
        if isinstance(networks, tuple):
            return tuple(ip_network(each) for each in networks)
        return networks

    def doubts(self) -> Iterator[str]:
        yield from super().doubts()
        url = urlsplit(self.address)
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            yield (
                f"CARNET_PUBLIC_URL: passwords and tokens travel in the clear to {url.hostname}; "
                "let it be an https:// address"
            )

    @property
    def address(self) -> str:
        """Where clients reach it: scheme, host, port; no trailing slash."""
        host = _EVERYWHERE.get(self.host, self.host)
        named = f"[{host}]" if ":" in host else host
        return self.public_url or f"http://{named}:{self.port}"
