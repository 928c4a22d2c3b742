"""Handlers by the type of message that they handle."""

import inspect
from collections.abc import Iterator
from typing import Generic, TypeVar

from auth.errors import Code, RefusalError
from messaging.contract import Contract

H = TypeVar("H")


class Registry(Generic[H]):
    """One handler for each type."""

    def __init__(self) -> None:
        self._handlers: dict[str, H] = {}

    def __len__(self) -> int:
        return len(self._handlers)

    def __iter__(self) -> Iterator[H]:
        return iter(self._handlers.values())

    def add(self, contract: type[Contract], kind: type[Contract], handler: H, run: object) -> None:
        """Register `handler`, which runs `run` for messages of `contract`.

        Raises:
            TypeError: `contract` is not of the `kind` that belongs here, or `run` not `async`.
            ValueError: the type has a handler already.
        """
        if not (isinstance(contract, type) and issubclass(contract, kind)):
            raise TypeError(f"wanted: a kind of {kind.__name__}, not {contract!r}")
        if not inspect.iscoroutinefunction(run):
            raise TypeError(f"the handler of {contract.__name__} must be an async function")
        if contract.route.type in self._handlers:
            raise ValueError(f"{contract.route.type} has a handler already")
        self._handlers[contract.route.type] = handler

    def choose(self, unverified_type: str | None) -> H:
        """The handler for a type that nobody vouches for yet: the handler's own route is verified.

        Raises:
            RefusalError: `unknown_type`.
        """
        handler = self._handlers.get(unverified_type or "")
        if handler is None:
            raise RefusalError(Code.UNKNOWN_TYPE, f"no handler for {unverified_type!r:.100}")
        return handler
