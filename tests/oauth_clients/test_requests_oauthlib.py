"""requests-oauthlib, as its documentation has it. It blocks, so it runs in a thread."""

import asyncio
from typing import Any

import httpx
import pytest
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from joserfc.jwk import ECKey
from oauthlib.oauth2 import BackendApplicationClient, InvalidGrantError
from requests_oauthlib import OAuth2Session

from services.contracts.topology import ORDER_SERVICE
from services.gateway.oauth import ASSERTION
from services.gateway.routes.token import ACCESS_TOKEN_TYPE, EXCHANGE, JWT_TYPE
from tests.services.gateway.browser import CALLBACK, NOTES, Page, submit
from tests.services.gateway.stack import PARTNER, PASSWORD, PATIENCE, Stack


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' gateway has no certificate."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


async def metadata_of(stack: Stack) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as http:
        found: dict[str, Any] = (await http.get("/.well-known/oauth-authorization-server")).json()
        return found


async def test_an_app_gets_refreshes_and_revokes_tokens(stack: Stack) -> None:
    metadata = await metadata_of(stack)
    session = OAuth2Session(NOTES, redirect_uri=CALLBACK, scope=["orders:read"], pkce="S256")
    url, _ = session.authorization_url(metadata["authorization_endpoint"])
    async with (
        stack.user() as ada,
        httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as browser,
    ):
        page = Page.of(await browser.get(url))
        back = await submit(browser, page, name=ada.name, password=PASSWORD)

    def use() -> None:
        token_endpoint = metadata["token_endpoint"]
        first = session.fetch_token(
            token_endpoint,
            authorization_response=back.headers["location"],
            include_client_id=True,
        )
        assert first["scope"] == ["orders:read"]
        assert session.get(f"{stack.url}/v1/orders").status_code == 200
        second = session.refresh_token(token_endpoint, client_id=NOTES)
        assert second["refresh_token"] != first["refresh_token"]
        address, headers, body = session._client.prepare_token_revocation_request(
            metadata["revocation_endpoint"],
            second["refresh_token"],
            token_type_hint="refresh_token",
            client_id=NOTES,
        )
        revoked = session.post(address, data=body, headers=headers, withhold_token=True)
        assert revoked.status_code == 200
        with pytest.raises(InvalidGrantError):
            session.refresh_token(token_endpoint, client_id=NOTES)

    await asyncio.to_thread(use)


async def test_a_service_gets_exchanges_and_introspects_tokens(stack: Stack) -> None:
    metadata = await metadata_of(stack)
    key = ECKey.import_key((stack.folder / "keys" / PARTNER / "seal.pem").read_bytes())
    token_endpoint = metadata["token_endpoint"]

    def proof() -> dict[str, str]:
        assertion = private_key_jwt_sign(
            key, PARTNER, token_endpoint, alg="ES256", header={"kid": key.thumbprint()}
        )
        return {"client_assertion_type": ASSERTION, "client_assertion": assertion}

    def use() -> dict[str, Any]:
        session = OAuth2Session(client=BackendApplicationClient(PARTNER))
        own = session.fetch_token(token_endpoint, include_client_id=True, **proof())
        asked = {
            "grant_type": EXCHANGE,
            "subject_token": own["access_token"],
            "subject_token_type": ACCESS_TOKEN_TYPE,
            "audience": ORDER_SERVICE,
        }
        answer = session.post(token_endpoint, data={**asked, **proof()}, withhold_token=True)
        carnet: dict[str, Any] = answer.json()
        known = session.post(
            metadata["introspection_endpoint"],
            data={"token": carnet["access_token"], **proof()},
            withhold_token=True,
        )
        assert known.json()["active"] is True
        return carnet

    carnet = await asyncio.to_thread(use)

    assert (carnet["token_type"], carnet["issued_token_type"]) == ("N_A", JWT_TYPE)
