"""What the order service reports of a message whose sender wants to see it travel."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from auth.verifier import Route
from messaging.contract import Event
from services.contracts import topology

Milliseconds = Annotated[int, Field(ge=0, description="Since the epoch.")]


class CheckTold(BaseModel):
    """One of the thirteen checks: what it asks, what it found, and how long it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Annotated[int, Field(ge=1)]
    check: str
    question: str
    verdict: Literal["passed", "refused", "not reached"]
    microseconds: Annotated[int, Field(ge=0)] | None = Field(
        description="Absent where it was not reached, or is the database's."
    )


class TokenTold(BaseModel):
    """What a token says: header and claims, without the signature that would make it a token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    header: dict[str, str]
    claims: dict[str, Any]


class MessageJourney(Event):
    """What became of one message. Live: it is told once, and kept nowhere.

    Its seal's `cause` is the stream that it is for. Its `sub` is whose message it was, where that
    is certain; of a forged one it is the order service, whose act the refusal is.
    """

    route: ClassVar[Route] = topology.ORDER_JOURNEY

    message: str = Field(description="What the sender calls the message.")
    command: str = Field(description="Type of the message, as it says itself.")
    queue: str
    outcome: Literal["done", "retried", "refused"]
    code: str | None = Field(description="Stable code, where it was refused.")
    detail: str | None
    checks: tuple[CheckTold, ...]
    carnet: TokenTold | None = Field(description="Absent where it cannot be read at all.")
    seal: TokenTold | None
    published_ms: Milliseconds
    arrived_ms: Milliseconds
    settled_ms: Milliseconds
