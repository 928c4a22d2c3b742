"""What one kind of message says, and the form it has on the wire: a JSON object in UTF-8."""

from typing import ClassVar, Final, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from auth.errors import Code, RefusalError
from auth.verifier import Route

MAX_BODY: Final = 256 * 1024
"""Largest body that is read, in bytes."""

MAX_DETAIL: Final = 300

R = TypeVar("R", bound=BaseModel)


class InvalidBodyError(RefusalError):
    """A body that is not what its type promises; `detail` names places, never values."""

    def __init__(self, detail: str) -> None:
        super().__init__(Code.INVALID_BODY, detail)


class Contract(BaseModel):
    """One kind of message: its fields, and the route that its seal must name.

    Values are built leniently (an int is a fine `Decimal`) and parsed strictly.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )

    route: ClassVar[Route]

    def to_body(self) -> bytes:
        """The same value gives the same bytes: fields in the order of their declaration."""
        return self.model_dump_json().encode()

    @classmethod
    def from_body(cls, body: bytes) -> Self:
        """Parse the body of a message that has been verified.

        Raises:
            InvalidBodyError: too large, not UTF-8, not JSON, too deep, or not this contract.
        """
        return parse_body(cls, body)


class Command(Contract):
    """A wish that one service fulfils once, or refuses. Named in the imperative."""

    def concerns(self, message_id: str) -> str | None:
        """What it is about, in at most 200 characters, as the id of an order.

        Commands about the same thing are handled one at a time, in the order in which they
        arrive (`messaging.dispatch`). None: about nothing that others are about.

        message_id: the `jti` of its seal.
        """
        del message_id
        return None


class Event(Contract):
    """Something that has happened. Named in the past tense."""

    def concerns(self, message_id: str) -> str | None:
        """As of a command, for those who act on it (`messaging.consumer`)."""
        del message_id
        return None


class Request(Contract, Generic[R]):
    """A question that one service answers now, with an `R`."""

    reply: ClassVar[type[BaseModel]]
    encrypted: ClassVar[bool] = False
    """Whether the bodies of request and reply travel encrypted to their receiver (RFC 7516)."""


M = TypeVar("M", bound=BaseModel)


def parse_body(model: type[M], body: bytes, *, limit: int = MAX_BODY) -> M:
    """Read `body` as the JSON of a `model`, strictly; at most `limit` bytes.

    Raises:
        InvalidBodyError: see `Contract.from_body`.
    """
    if len(body) > limit:
        raise InvalidBodyError(f"the body has {len(body)} bytes, more than {limit}")
    try:
        body.decode("utf-8", errors="strict")
        return model.model_validate_json(body, strict=True)
    except UnicodeDecodeError as error:
        raise InvalidBodyError("the body is not UTF-8") from error
    except ValidationError as error:
        raise InvalidBodyError(_places(error)) from None


def _places(error: ValidationError) -> str:
    """Where the body is wrong and how. Values may be passwords: they are never quoted."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    named = (f"{'.'.join(str(part) for part in fault['loc'])}: {fault['type']}" for fault in faults)
    return "; ".join(named)[:MAX_DETAIL]
