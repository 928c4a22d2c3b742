"""The settings of the order service."""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from messaging.consumer_parts import CONCURRENCY, PREFETCH
from messaging.signatures import has_several_cores
from services.settings import ServiceSettings

_NUMBERS: Final = re.compile(r"(?P<first>[0-9]{1,2})(-(?P<last>[0-9]{1,2}))?")


class OrderSettings(ServiceSettings):
    """What the order service needs to know."""

    prefetch: int = Field(default=PREFETCH, ge=1, le=10_000, description="Deliveries held ahead")
    orders_shard: Annotated[tuple[int, ...], NoDecode] = Field(
        default=(),
        description="Shards that this replica consumes, as 0-3 or 0,2,5; all where none is named",
    )
    signature_process: bool = Field(
        default_factory=has_several_cores,
        json_schema_extra={"default": "true where there are several cores"},
        description="Check signatures in a process beside, once there are many",
    )
    concurrency: int = Field(default=CONCURRENCY, ge=1, le=1000, description="Handlers at once")

    @field_validator("orders_shard", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        numbers: set[int] = set()
        for part in filter(None, map(str.strip, value.split(","))):
            found = _NUMBERS.fullmatch(part)
            if found is None:
                raise ValueError("has the form 0-3 or 0,2,5")
            first = int(found["first"])
            last = int(found["last"] or first)
            if last < first:  # none of them, which would mean all
                raise ValueError("has the form 0-3, the lower number first")
            numbers.update(range(first, last + 1))
        return tuple(sorted(numbers))

    @model_validator(mode="after")
    def _known(self) -> Self:
        shards = self.orders_shards if self.orders_shards > 1 else 0
        unknown = [str(number) for number in self.orders_shard if not 0 <= number < shards]
        if unknown:
            raise ValueError(
                f"CARNET_ORDERS_SHARD names {', '.join(unknown)}, and CARNET_ORDERS_SHARDS="
                f"{self.orders_shards} has no such shard"
            )
        return self

    def doubts(self) -> Iterator[str]:
        yield from super().doubts()
        if self.concurrency > self.prefetch:
            yield (
                f"CARNET_CONCURRENCY={self.concurrency}: no more than CARNET_PREFETCH="
                f"{self.prefetch} are ever at work; raise that, or lower this"
            )
