"""The settings of the order service."""

from collections.abc import Iterator

from pydantic import Field

from messaging.consumer_parts import CONCURRENCY, PREFETCH
from services.settings import ServiceSettings


class OrderSettings(ServiceSettings):
    """What the order service needs to know."""

    prefetch: int = Field(default=PREFETCH, ge=1, le=10_000, description="Deliveries held ahead")
    concurrency: int = Field(default=CONCURRENCY, ge=1, le=1000, description="Handlers at once")

    def doubts(self) -> Iterator[str]:
        yield from super().doubts()
        if self.concurrency > self.prefetch:
            yield (
                f"CARNET_CONCURRENCY={self.concurrency}: no more than CARNET_PREFETCH="
                f"{self.prefetch} are ever at work; raise that, or lower this"
            )
