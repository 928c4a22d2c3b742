"""The settings of the user service."""

from datetime import timedelta

from pydantic import Field

from services.settings import ServiceSettings


class UserSettings(ServiceSettings):
    """Durations are seconds, or ISO 8601 (`P30D`)."""

    session_life: timedelta = Field(
        default=timedelta(days=30), gt=timedelta(0), description="How long a session lasts at most"
    )
    session_idle: timedelta = Field(
        default=timedelta(days=7), gt=timedelta(0), description="How long it lasts unrefreshed"
    )
