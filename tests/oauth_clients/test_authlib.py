"""Authlib, as its documentation has it, against a gateway of which it knows the metadata."""

import asyncio
import secrets
from typing import Any

import httpx
import pytest
import pytest_asyncio
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey

from services.contracts.topology import ORDER_SERVICE
from services.gateway.routes.token import ACCESS_TOKEN_TYPE, DEVICE, EXCHANGE, JWT_TYPE
from tests.services.gateway.browser import CALLBACK, NOTES, Page, submit
from tests.services.gateway.stack import PARTNER, PASSWORD, PATIENCE, Stack


@pytest_asyncio.fixture
async def metadata(stack: Stack) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as http:
        found: dict[str, Any] = (await http.get("/.well-known/oauth-authorization-server")).json()
        return found


async def test_an_app_gets_refreshes_and_revokes_tokens(
    stack: Stack, metadata: dict[str, Any]
) -> None:
    verifier = secrets.token_urlsafe(32)
    session = OAuth2Session(
        NOTES,
        scope="orders:read",
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
        token_endpoint_auth_method="none",
        revocation_endpoint_auth_method="none",
    )
    url, state = session.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=verifier
    )
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
            state=state,
            code_verifier=verifier,
        )
        assert first["scope"] == "orders:read"
        assert session.get(f"{stack.url}/v1/orders").status_code == 200
        second = session.refresh_token(token_endpoint)
        assert second["refresh_token"] != first["refresh_token"]
        revoked = session.revoke_token(
            metadata["revocation_endpoint"], second["refresh_token"], "refresh_token"
        )
        assert revoked.status_code == 200
        with pytest.raises(OAuthError, match="invalid_grant"):
            session.refresh_token(token_endpoint)

    await asyncio.to_thread(use)


async def test_a_device_gets_tokens(stack: Stack, metadata: dict[str, Any]) -> None:
    session = OAuth2Session("app:tv", token_endpoint_auth_method="none")
    async with (
        stack.user() as ada,
        httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE) as browser,
    ):
        asked = {"client_id": "app:tv", "scope": "orders:read"}
        codes = (await browser.post(metadata["device_authorization_endpoint"], data=asked)).json()
        page = Page.of(await browser.get(codes["verification_uri_complete"]))
        page = Page.of(await browser.post(page.action, data=page.fields))
        await submit(browser, page, name=ada.name, password=PASSWORD)

    tokens = await asyncio.to_thread(
        session.fetch_token,
        metadata["token_endpoint"],
        grant_type=DEVICE,
        device_code=codes["device_code"],
    )

    assert tokens["scope"] == "orders:read"


async def test_a_service_gets_exchanges_and_introspects_tokens(
    stack: Stack, metadata: dict[str, Any]
) -> None:
    """Authlib's assertions have the type `JWT`, and live for an hour."""
    key = ECKey.import_key((stack.folder / "keys" / PARTNER / "seal.pem").read_bytes())
    session = OAuth2Session(PARTNER, key, token_endpoint_auth_method="private_key_jwt")
    session.register_client_auth_method(
        PrivateKeyJWT(metadata["token_endpoint"], alg="ES256", headers={"kid": key.thumbprint()})
    )

    def use() -> dict[str, Any]:
        own = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
        assert (own["token_type"], own["scope"]) == ("Bearer", "orders:read")
        carnet: dict[str, Any] = session.fetch_token(
            metadata["token_endpoint"],
            grant_type=EXCHANGE,
            subject_token=own["access_token"],
            subject_token_type=ACCESS_TOKEN_TYPE,
            audience=ORDER_SERVICE,
        )
        known = session.introspect_token(metadata["introspection_endpoint"], carnet["access_token"])
        assert known.json()["active"] is True
        assert known.json()["aud"] == ORDER_SERVICE
        return carnet

    carnet = await asyncio.to_thread(use)

    assert (carnet["token_type"], carnet["issued_token_type"]) == ("N_A", JWT_TYPE)
