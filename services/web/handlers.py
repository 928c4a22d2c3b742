"""How an exception that leaves a route becomes a problem document."""

from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from messaging.rpc import RpcRefusedError
from services.web import problems
from services.web.faults import FAULTS, problem_of
from services.web.problems import FieldError, Kind, ProblemError, problem_response

_BY_STATUS: Final = {
    404: problems.NOT_FOUND,
    405: problems.METHOD_NOT_ALLOWED,
}
_MAX_FAULTS: Final = 20


def install_handlers(app: FastAPI) -> None:
    """Give every error that a route may raise its document."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    foreseen: list[type[Exception]] = [RpcRefusedError, *FAULTS]
    for family in foreseen:
        app.add_exception_handler(family, _fault)


async def _http(_request: Request, error: Exception) -> Response:
    if isinstance(error, ProblemError):
        return problem_response(error)
    if not isinstance(error, HTTPException):
        raise error
    kind = _BY_STATUS.get(error.status_code) or _other(error.status_code)
    return problem_response(ProblemError(kind, kind.title + ".", headers=error.headers))


def _other(status: int) -> Kind:
    server_fault = 500
    return problems.INTERNAL_ERROR if status >= server_fault else problems.MALFORMED_REQUEST


async def _fault(_request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem is None:
        raise error
    return problem_response(problem)


async def _invalid(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return problem_response(invalid(error.errors()))


def invalid(faults: Sequence[Any]) -> ProblemError:
    """The problem for pydantic's faults: where, and what is wrong. Never what was sent."""
    if any(fault["type"] == "json_invalid" for fault in faults):
        return ProblemError(problems.MALFORMED_REQUEST, "The body is not JSON.")
    return ProblemError(
        problems.INVALID_REQUEST,
        "See `errors` for what is wrong and where.",
        errors=[_field_error(fault) for fault in _causes(faults)[:_MAX_FAULTS]],
    )


def _causes(faults: Sequence[Any]) -> list[Any]:
    """The faults without those that follow: a list whose only item is bad counts as empty too."""
    places = [fault["loc"] for fault in faults]
    return [
        fault
        for fault in faults
        if not any(
            len(fault["loc"]) < len(place) and place[: len(fault["loc"])] == fault["loc"]
            for place in places
        )
    ]


def _field_error(fault: dict[str, Any]) -> FieldError:
    place, *path = fault["loc"]
    if place != "body":
        return FieldError(detail=fault["msg"], place=place, parameter=str(path[0]))
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    pointer = "#" + "".join(f"/{part}" for part in escaped)
    return FieldError(detail=fault["msg"], place="body", pointer=pointer)
