"""oauth4webapi (Node.js): `client.mjs` goes through every flow by the metadata alone."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from services.contracts.topology import ORDER_SERVICE
from services.gateway.routes.token import JWT_TYPE
from tests.services.gateway.browser import CALLBACK, NOTES
from tests.services.gateway.stack import PARTNER, PASSWORD, PATIENCE, Stack

HERE = Path(__file__).parent


@pytest.mark.node
async def test_it_gets_refreshes_exchanges_introspects_and_revokes_tokens(stack: Stack) -> None:
    node = shutil.which("node")
    assert node is not None, "run: make oauth-clients"
    key = ECKey.import_key((stack.folder / "keys" / PARTNER / "seal.pem").read_bytes())
    async with stack.user() as ada:
        told = {
            "issuer": stack.url,
            "user": ada.name,
            "password": PASSWORD,
            "callback": CALLBACK,
            "app": NOTES,
            "device": "app:tv",
            "service": {
                "client_id": PARTNER,
                "kid": key.thumbprint(),
                "key": key.as_dict(private=True),
            },
            "audience": ORDER_SERVICE,
        }
        process = await asyncio.create_subprocess_exec(
            node,
            "client.mjs",
            cwd=HERE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            said, failed = await process.communicate(json.dumps(told).encode())

    assert process.returncode == 0, failed.decode()
    assert json.loads(said) == {
        "code": "orders:read",
        "refresh": "orders:read",
        "orders": 200,
        "revoked": "invalid_grant",
        "pending": "authorization_pending",
        "device": "orders:read",
        "credentials": "orders:read",
        "exchange": JWT_TYPE,
        "introspection": {"active": True, "aud": ORDER_SERVICE},
    }
