"""Asking the user service for a token for the broker, and what may come of it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from auth.keys import SigningKey
from auth.seal import Sealer
from messaging.errors import BrokerLoginError, BrokerTokenError
from services.broker_login import broker_tokens
from services.contracts.topology import ORDER_SERVICE
from services.errors import SettingsError
from services.http import HttpServer
from services.http_tokens import HttpTokens
from services.local.ports import LOOPBACK, free_ports
from services.settings import BrokerLogin, ServiceSettings

SEALER = Sealer(ORDER_SERVICE, SigningKey.generate())
GOOD = {"access_token": "a.b.c", "token_type": "Bearer", "expires_in": 900}


def asking(url: str) -> HttpTokens:
    return HttpTokens(url, SEALER, resource="carnet-broker", clock=time.time)


@asynccontextmanager
async def answering(answer: Callable[[Request], Awaitable[Response]]) -> AsyncIterator[str]:
    """The address of a server that answers so, whatever it is asked."""
    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    server = HttpServer(app, host=LOOPBACK, port=0, drain=1)
    await server.start()
    try:
        yield f"http://{LOOPBACK}:{server.port}/oauth/token"
    finally:
        await server.stop()


def always(response: Callable[[], Response]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return response()

    return answer


async def test_each_token_is_asked_for_with_an_assertion_of_its_own() -> None:
    seen = []

    async def answer(request: Request) -> Response:
        async with request.form() as form:
            seen.append(dict(form))
        return JSONResponse(GOOD)

    async with answering(answer) as url:
        tokens = asking(url)
        first, _ = await tokens(), await tokens()

    assert (first.text, first.life) == ("a.b.c", 900)
    assert {fields["grant_type"] for fields in seen} == {"client_credentials"}
    assert len({fields["client_assertion"] for fields in seen}) == 2


async def test_nobody_at_the_address_may_be_there_later() -> None:
    port = free_ports(1)[0]

    with pytest.raises(BrokerTokenError, match=f"{LOOPBACK}:{port}"):
        await asking(f"http://{LOOPBACK}:{port}/oauth/token")()


LATER: dict[str, Callable[[], Response]] = {
    "503": lambda: JSONResponse({"error": "temporarily_unavailable"}, status_code=503),
    "500": lambda: PlainTextResponse("Internal Server Error", status_code=500),
    "a page": lambda: PlainTextResponse("<html>"),
    "another token": lambda: JSONResponse({**GOOD, "token_type": "mac"}),
    "no life": lambda: JSONResponse({**GOOD, "expires_in": 0}),
    "a life of text": lambda: JSONResponse({**GOOD, "expires_in": "900"}),
    "no token": lambda: JSONResponse({**GOOD, "access_token": ""}),
    "a client error in other words": lambda: PlainTextResponse("Not Found", status_code=404),
    "somewhere else": lambda: RedirectResponse("http://example.com/", status_code=307),
}


@pytest.mark.parametrize("case", LATER)
async def test_another_answer_is_asked_again_later(case: str) -> None:
    async with answering(always(LATER[case])) as url:
        with pytest.raises(BrokerTokenError, match="no token for the broker"):
            await asking(url)()


@pytest.mark.parametrize("code", ["invalid_client", "unauthorized_client"])
async def test_a_refusal_is_told_and_not_tried_again(code: str) -> None:
    def refuse() -> Response:
        return JSONResponse({"error": code}, status_code=401)

    async with answering(always(refuse)) as url:
        with pytest.raises(BrokerLoginError, match=code):
            await asking(url)()


def settings(tmp_path: Path, login: BrokerLogin, url: str | None) -> ServiceSettings:
    return ServiceSettings(
        amqp_url=SecretStr("amqp://localhost/"),
        broker_login=login,
        broker_token_url=url,
        trust_root=tmp_path,
        key_set=tmp_path,
        trust_state=tmp_path,
        keys=tmp_path,
        database_url=SecretStr("sqlite+aiosqlite://"),
        port=8000,
    )


def test_passwords_need_no_tokens(tmp_path: Path) -> None:
    assert broker_tokens(settings(tmp_path, "password", None), SEALER) is None


def test_tokens_need_an_address(tmp_path: Path) -> None:
    assert broker_tokens(settings(tmp_path, "token", "http://users:8000/oauth/token"), SEALER)
    with pytest.raises(SettingsError, match="CARNET_BROKER_TOKEN_URL"):
        broker_tokens(settings(tmp_path, "token", None), SEALER)
