"""Nothing that opens anything is ever written down, whatever happens."""

import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest_asyncio

from auth.keyset import TrustRoot
from services.demo.client import Account, ShopClient, next_event
from services.demo.forgeries import Captured, ForgersKeys, five_forgeries
from services.demo.wiretap import Wiretap
from services.local.logins import OPERATOR
from services.local.stack import LocalStack
from tests.e2e.test_revocation import BASKET, becomes, carnet

PASSPHRASE: Final = "a passphrase that is known to the test alone"
WRONG: Final = "a wrong password that somebody typed"


@pytest_asyncio.fixture
async def locked_stack(tmp_path: Path) -> AsyncIterator[LocalStack]:
    """A stack of processes whose private keys are under a passphrase."""
    folder = tmp_path / "state"
    async with LocalStack(folder, passphrase=PASSPHRASE, throwaway=True) as running:
        yield running


def _pieces(secret: str) -> set[str]:
    """What of a secret must not be seen: of a token its signature and payload as well."""
    return {secret, *(part for part in secret.split(".")[1:] if len(part) > 20)}


def _private_keys(state: Path) -> set[str]:
    """A line from inside each private key file."""
    files = [*state.glob("root/*.pem"), *state.glob("keys/**/*.pem")]
    return {path.read_text().splitlines()[2] for path in files}


async def _all_that_is_told(stack: LocalStack, user: Account) -> tuple[list[str], set[str]]:
    """Provoke everything once; answers and printed text, and the secrets that came with them."""
    told: list[str] = []
    known = {user.password, user.access_token, user.refresh_token}
    bearer = {"Authorization": f"Bearer {user.access_token}"}
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=15) as http:
        for name in (user.name, "nobody-of-that-name"):
            credentials = {"name": name, "password": WRONG}
            told.append((await http.post("/v1/sessions", json=credentials)).text)
        for token in (user.access_token[:-9] + "AAAAAAAAA", user.refresh_token):
            forged = {"Authorization": f"Bearer {token}"}
            told.append((await http.get("/v1/orders", headers=forged)).text)
        address = f"/v1/orders?access_token={user.access_token}"
        told.append((await http.get(address, headers=bearer)).text)
        short = {"name": user.name, "password": user.password, "roles": user.access_token}
        told.append((await http.post("/v1/users", json=short)).text)
        form = {"grant_type": "refresh_token", "client_id": "api-gateway"}
        spent = await http.post("/oauth/token", data=form | {"refresh_token": user.refresh_token})
        if spent.is_success:
            known |= {spent.json()["access_token"], spent.json()["refresh_token"]}
        reused = await http.post("/oauth/token", data=form | {"refresh_token": user.refresh_token})
        told.append(reused.text)
        told.append((await http.get("/v1/orders", headers=bearer)).text)
    return told, known


async def _dead_letters(
    stack: LocalStack, tap: Wiretap, hers: Captured, his: Captured
) -> list[str]:
    """What the dead letters of five forgeries say of themselves besides the proofs they keep."""
    root = TrustRoot.from_json((stack.state / "trust-root.json").read_bytes())
    key_set = root.verify((stack.state / "key-set.jwt").read_text(), now=time.time())
    keys = ForgersKeys.load(stack.state / "keys", key_set, PASSPHRASE.encode())
    said = []
    for forgery in five_forgeries(hers, his, keys, issuer=key_set.issuer, now=time.time()):
        await tap.publish(forgery.envelope)
        dead = await tap.dead_letter(forgery.envelope)
        proofs = {"authorization", "carnet-seal"}
        said.append(str({n: v for n, v in dead.headers.items() if n not in proofs}))
    return said


def _logs(stack: LocalStack) -> list[str]:
    """What the services wrote; the broker's own log beside them."""
    files = [
        path
        for pattern in ("logs/*", "broker/**/*.log", "broker/**/log/*")
        for path in stack.state.glob(pattern)
    ]
    assert files
    return [path.read_text(errors="replace") for path in files if path.is_file()]


async def test_nothing_secret_is_written_anywhere(locked_stack: LocalStack) -> None:
    """Every log, answer, command's output, audit export and dead letter of a full run."""
    stack = locked_stack
    async with ShopClient(stack.gateway_url) as shop, Wiretap(stack.amqp_url(OPERATOR)) as tap:
        users = []
        captured = []
        for name in ("ada", "mallory"):
            name_, password = f"{name}-{secrets.token_hex(6)}", secrets.token_urlsafe(24)
            await shop.register(name_, password)
            user = await shop.sign_in(name_, password)
            async with shop.events(user) as events:
                await shop.place(user, BASKET)
                captured.append(await tap.capture())
                await next_event(events, within=20)
            users.append(user)
        ada, mallory = users
        told = await _dead_letters(stack, tap, *captured)
        told.append(await carnet(stack, "revoke", "--user", mallory.name))
        await becomes(stack, mallory, "revoked")
        answers, known = await _all_that_is_told(stack, ada)
        told += answers
        told.append(await carnet(stack, "audit", "export"))
        told.append(await carnet(stack, "keys", "list"))
        told.append(await carnet(stack, "trust", "show"))
    told += _logs(stack)

    tokens = {
        *known,
        *(secret for u in users for secret in (u.password, u.access_token, u.refresh_token)),
        *(value for c in captured for value in _tokens(c)),
    }
    forbidden = {piece for secret in tokens for piece in _pieces(secret)}
    forbidden |= {WRONG, PASSPHRASE, *_private_keys(stack.state)}
    assert [s for s in forbidden if any(s in text for text in told)] == []


def _tokens(captured: Captured) -> list[str]:
    """The carnet. A seal opens nothing: it binds one message and is public with it."""
    return [captured.headers["authorization"].removeprefix("Bearer ")]
