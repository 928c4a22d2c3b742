"""What an answer looks like where all is well: the examples of the OpenAPI document."""

from typing import Final

ORDER_ID: Final = "7d44ba5c-8e2f-8b6e-9d3a-3f0f6a6f2c11"
SUBJECT: Final = "0d3c7a52-2f1b-4a39-9d57-6c1f6e0a7f10"

REGISTERED: Final = {"sub": SUBJECT, "name": "ada", "roles": ["customer"]}

SESSION: Final = {
    "sid": "3f1c2a6e-8d0b-4f55-9a0e-5b7c1d2e3f40",
    "sub": SUBJECT,
    "name": "ada",
    "roles": ["customer"],
    "client_id": "app:carnet-cli",
    "scope": "orders:read orders:write",
    "since": 1772443800,
}

TOKENS: Final = {
    "access_token": "eyJhbGciOiJFUzI1NiIsImtpZCI6…",
    "token_type": "Bearer",
    "expires_in": 900,
    "scope": "orders:read orders:write",
    "refresh_token": "vF9dQ0c4b2…",
}

INTROSPECTIONS: Final = {
    "active": {
        "value": {
            "active": True,
            "scope": "orders:read orders:write",
            "client_id": "api-gateway",
            "token_type": "Bearer",
            "exp": 1772444700,
            "iat": 1772443800,
            "sub": SUBJECT,
            "aud": "api-gateway",
            "iss": "user-service",
            "jti": "kPZ9q2b7T0uYw3nR5sLd8A",
            "sid": "mB4x7c1QeVhJ6tGfZ2oK9w",
        }
    },
    "not active": {"value": {"active": False}},
}

ORDER_ACCEPTED: Final = {"id": ORDER_ID, "state": "accepted"}

ORDER: Final = {
    "id": ORDER_ID,
    "state": "placed",
    "lines": [{"sku": "tea-earl-grey", "quantity": 2, "unit_price": "4.20"}],
    "currency": "EUR",
    "total": "8.40",
    "placed_by": SUBJECT,
    "placed_through": ["api-gateway"],
    "placed_at": "2026-03-02T09:30:00Z",
    "changed_at": "2026-03-02T09:30:00Z",
}

ORDERS: Final = {"orders": [ORDER], "next": f"1772443800.{ORDER_ID}"}

EVENTS: Final = """\
retry: 2000

event: orders.placed.v1
data: {"order_id":"7d44ba5c-8e2f-8b6e-9d3a-3f0f6a6f2c11","sequence":1,"at":"2026-03-02T09:30:00Z",\
"lines":[{"sku":"tea-earl-grey","quantity":2,"unit_price":"4.20"}],"currency":"EUR","total":"8.40"}
id: 1

event: end
data: {"reason":"token_expired"}
"""

JOURNEY: Final = """\
event: journey
data: {"stream":"q83vEjRWeJCrze8SNFZ4kA"}

event: orders.journey.v1
data: {"message":"first-order","command":"orders.place.v1","queue":"orders.commands",\
"outcome":"done","code":null,"detail":null,"checks":[{"number":1,"check":"presence",\
"question":"exactly one carnet and one seal, of bearable size?","verdict":"passed",\
"microseconds":9}],"carnet":null,"seal":null,"published_ms":1772443800000,\
"arrived_ms":1772443800004,"settled_ms":1772443800013}

event: end
data: {"reason":"token_expired"}
"""

FORGED: Final = {
    "sent": None,
    "stopped_by": "user-service",
    "code": "invalid_target",
    "detail": "this client may not ask for this audience",
    "journey": None,
}

JWK_SET: Final = {
    "keys": [
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            "kid": "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
            "alg": "ES256",
            "use": "sig",
        }
    ]
}
