"""Keys, metadata, health, and which origins may call."""

import httpx

from auth.keys import VerificationKey
from tests.services.gateway.conftest import OpenStack
from tests.services.gateway.stack import TEA, Stack


async def test_the_key_set_has_the_issuers_public_keys(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    answer = await http.get("/.well-known/jwks.json")

    keys = answer.json()["keys"]
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "public, max-age=30"
    assert {key["kid"] for key in keys} == set(stack.key_set.issuer_keys)
    assert len(keys) >= 2
    for key in keys:
        assert key.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
        assert VerificationKey.from_jwk(key).kid == key["kid"]


async def test_the_metadata_names_what_there_is(stack: Stack, http: httpx.AsyncClient) -> None:
    metadata = (await http.get("/.well-known/oauth-authorization-server")).json()

    assert metadata["issuer"] == stack.url
    assert metadata["grant_types_supported"] == [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ]
    assert metadata["response_types_supported"] == ["code"]
    assert metadata["response_modes_supported"] == ["query"]
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["authorization_response_iss_parameter_supported"] is True
    assert (await http.get(metadata["authorization_endpoint"])).status_code == 400
    assert metadata["token_endpoint_auth_methods_supported"] == ["none", "private_key_jwt"]
    assert metadata["revocation_endpoint_auth_methods_supported"] == ["none", "private_key_jwt"]
    assert metadata["introspection_endpoint_auth_methods_supported"] == [
        "private_key_jwt",
        "Bearer",
    ]
    assert "tokens:introspect" in metadata["scopes_supported"]
    assert (await http.get(metadata["jwks_uri"])).status_code == 200
    for endpoint in ("token", "revocation", "introspection", "device_authorization"):
        assert (await http.post(metadata[f"{endpoint}_endpoint"])).json().keys() >= {"error"}


async def test_it_is_alive_and_ready(http: httpx.AsyncClient) -> None:
    live, ready = await http.get("/health/live"), await http.get("/health/ready")

    assert (live.status_code, live.json()["status"]) == (200, "live")
    assert ready.json() == {
        "status": "ready",
        "checks": {"broker": True, "replies": True, "events": True, "trust": True},
    }


async def test_named_origins_may_call_without_credentials(own_stack: OpenStack) -> None:
    stack = await own_stack(cors_origins="https://shop.example, https://other.example")
    async with stack.user() as ada:
        allowed = await ada.http.post(
            "/v1/orders", json=TEA, headers={"Origin": "https://shop.example"}
        )
        other = await ada.http.get("/v1/orders", headers={"Origin": "https://evil.example"})
        preflight = await ada.http.options(
            "/v1/orders",
            headers={
                "Origin": "https://shop.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, idempotency-key, content-type",
            },
        )

    assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
    assert "idempotency-key" in allowed.headers["access-control-expose-headers"].lower()
    assert "access-control-allow-origin" not in other.headers
    assert preflight.status_code == 200
    for answer in (allowed, other, preflight):
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"
