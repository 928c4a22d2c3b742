"""What the user service is asked, in the name of the operator who asks us."""

from typing import TypeVar

from pydantic import BaseModel

from messaging.contract import Request
from messaging.rpc import RpcRefusedError
from services.console.parts import ConsoleParts
from services.console.problems import refused
from services.contracts.topology import USER_SERVICE

R = TypeVar("R", bound=BaseModel)


async def ask(parts: ConsoleParts, request: Request[R]) -> R:
    """The user service's answer.

    Raises:
        ProblemError: what is meant is not there, or cannot be done now.
        RpcRefusedError, RpcTimeoutError, BrokerError, PublishError: as `RpcClient.call`.
    """
    try:
        return await parts.rpc.call(
            request, responder=USER_SERVICE, deadline=parts.options.rpc_deadline
        )
    except RpcRefusedError as refusal:
        raise refused(refusal) from refusal
