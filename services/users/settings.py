"""The settings of the user service."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, TypeAlias

from pydantic import Field

from services.settings import ServiceSettings

ISSUER_KEY_LIFE = timedelta(days=30)
SESSION_LIFE = timedelta(days=30)
SESSION_IDLE = timedelta(days=7)

LongestSession: TypeAlias = Annotated[
    timedelta, Field(gt=timedelta(0), description="How long a session lasts at most")
]
LongestUnrefreshed: TypeAlias = Annotated[
    timedelta, Field(gt=timedelta(0), description="How long it lasts unrefreshed")
]


class UserSettings(ServiceSettings):
    """Durations are seconds, or ISO 8601 (`P30D`)."""

    session_life: LongestSession = SESSION_LIFE
    session_idle: LongestUnrefreshed = SESSION_IDLE
    issuer_key_life: timedelta = Field(
        default=ISSUER_KEY_LIFE,
        ge=timedelta(0),
        description="After how long the issuer moves to its next key; 0 for never by itself",
    )
    lockout: bool = Field(
        default=True, description="Whether who fails to sign in too often must wait"
    )
    registrations_per_origin: int = Field(
        default=100, ge=0, description="Accounts that one address may make in an hour; 0 for any"
    )

    def doubts(self) -> Iterator[str]:
        yield from super().doubts()
        if self.session_idle > self.session_life:
            yield (
                "CARNET_SESSION_IDLE is longer than CARNET_SESSION_LIFE, so that it ends no "
                "session; make it shorter"
            )
