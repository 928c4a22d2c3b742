"""The bodies of requests and answers, where they are not a contract between services."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from services.contracts.orders import Currency, Lines, OrderId
from services.contracts.users import Name, NewPassword, Password, Tokens


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class NewAccount(_Body):
    """An account to be made."""

    name: Name
    password: NewPassword


class Credentials(_Body):
    """Who signs in."""

    name: Annotated[str, Field(max_length=200, examples=["ada"])]
    password: Annotated[Password, Field(examples=["correct horse battery staple"])]


class NewOrder(_Body):
    """An order to be placed."""

    lines: Lines
    currency: Currency


class OrderAccepted(BaseModel):
    """The broker holds the command; what becomes of it stands at the order and in its events."""

    id: OrderId
    state: Literal["accepted"] = "accepted"


class CommandAccepted(BaseModel):
    """The broker holds the command; its id is the message's own."""

    id: OrderId
    state: Literal["accepted"] = "accepted"


class TokenAnswer(BaseModel):
    """A successful token response (RFC 6749 §5.1)."""

    access_token: str = Field(description="For the `Authorization` header.", examples=["eyJhbGc…"])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: int = Field(description="Seconds.", examples=[900])
    scope: str = Field(examples=["orders:read orders:write"])
    refresh_token: str | None = Field(
        default=None, description="Good for one use.", examples=["vF9d…"]
    )

    @classmethod
    def of(cls, tokens: Tokens) -> Self:
        return cls(
            access_token=tokens.access_token,
            expires_in=tokens.expires_in,
            scope=tokens.scope,
            refresh_token=tokens.refresh_token,
        )
