"""Commands to services of one's own, as each declares them (`services.declared`).

The gateway knows their scopes, not their contents: a body is any JSON object, which the service
reads, and refuses where it is not what its type promises.
"""

import json
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final

from fastapi import APIRouter, Body, Depends, Request, Response, Security
from pydantic import ConfigDict

from auth.message import Route
from messaging.contract import Command
from services.declared import Declared, TakenCommand, route_of
from services.gateway.bearer import caller
from services.gateway.carnets import Caller
from services.gateway.commands import KEY_HEADER, Wish
from services.gateway.documents import BODY, answer, problems_of
from services.gateway.requests import CommandAccepted
from services.gateway.routes.orders import COMMAND, Desk, desk
from services.web import problems
from services.web.media import JSON, takes
from services.web.problems import ProblemError

COMMANDS: Final = "/v1/commands"
ACCEPTED: Final = answer(
    202,
    "The broker has confirmed the command.",
    {"id": "7d44ba5c-8e2f-8b6e-9d3a-3f0f6a6f2c11", "state": "accepted"},
    headers={KEY_HEADER: "The key to repeat the request with."},
)


class _Given(Command):
    """A command that is passed on as it came."""

    model_config = ConfigDict(extra="allow")


def commands_of(declared: Declared) -> APIRouter:
    """A route for each command that these services take from users."""
    router = APIRouter(tags=["commands"])
    for service in declared:
        for message_type, taken in service.commands.items():
            _add(router, service.client, message_type, taken)
    return router


def _sound(given: type[_Given], body: dict[str, Any]) -> Command:
    """The command, if it can be written down again.

    Raises:
        ProblemError: it is nested deeper than anybody reads, or has what JSON in UTF-8 has not (RFC
            8259 §6, §8.1): NaN, Infinity, a number beyond all bounds, half a surrogate pair.
    """
    try:
        json.dumps(body, allow_nan=False)  # pydantic would write null in its place
        command = given(**body)
        command.to_body()
    except (ValueError, RecursionError) as error:
        raise ProblemError(
            problems.INVALID_REQUEST,
            "The command cannot be passed on as it came: it is nested too deep, or has a number or "
            "a text that JSON has not.",
        ) from error
    return command


def _add(router: APIRouter, receiver: str, message_type: str, taken: TakenCommand) -> None:
    command_route = route_of(message_type)

    class Given(_Given):
        route: ClassVar[Route] = command_route

    async def give(
        body: Annotated[dict[str, Any], Body(description="The command, as its service wants it.")],
        who: Annotated[Caller, Security(caller, scopes=sorted(taken.scopes))],
        at: Annotated[Desk, Depends(desk)],
        request: Request,
    ) -> Response:
        wish = Wish(
            command=_sound(Given, body),
            caller=who,
            scopes=taken.scopes,
            key=at.key,
            method=request.method,
            path=request.scope["path"],
            receiver=receiver,
            patience=timedelta(seconds=taken.wanted_for),
        )
        accepted = CommandAccepted(id=await at.commands.accept(wish))
        return Response(
            accepted.model_dump_json(),
            status_code=202,
            headers={KEY_HEADER: at.key},
            media_type=JSON,
        )

    router.add_api_route(
        f"{COMMANDS}/{message_type}",
        give,
        methods=["POST"],
        operation_id=message_type,
        summary=f"Give {message_type} to {receiver}",
        status_code=202,
        response_model=CommandAccepted,
        responses={
            **problems_of(*BODY, *COMMAND, problems.IDEMPOTENCY_KEY_REUSED),
            **ACCEPTED,
        },
        dependencies=[Depends(takes(JSON))],
    )
