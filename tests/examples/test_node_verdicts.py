"""The Node.js verifier says the same to every forgery that ours is shown, with the same code."""

import asyncio
import base64
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from auth.errors import AuthError
from auth.keys import SigningKey
from tests.attacks.test_forged_commands import BATCHES, SINGLY
from tests.auth.forge import NOW, Scene, command_scene, event_scene, parties
from tests.auth.test_events import ROWS as EVENT_ROWS
from tests.auth.test_key_sets import ROOTS, STATEMENTS
from tests.auth.test_keys import ALGORITHMS, ROCA_N
from tests.auth.test_keys import ROWS as KEYS
from tests.examples.node import WITHIN

pytestmark = pytest.mark.node

JUDGE: Final = Path(__file__).with_name("judge.mjs")
ROUTES: Final = ("exchange", "routing_key", "type")
Change = Callable[[Scene], Scene]

COMMANDS: Final[dict[str, Change]] = SINGLY | {
    f"{batch}: {name}": change
    for batch, changes in BATCHES.items()
    for name, change in changes.items()
}
EVENTS: Final[dict[str, Change]] = {
    name: change for changes in EVENT_ROWS.values() for name, change in changes.items()
}


def verdict(scene: Scene) -> str:
    try:
        scene.judge()
    except AuthError as error:
        return error.code
    return "accepted"


def is_for_both(scene: Scene) -> bool:
    """The example takes no releases and no public commands, and is given no trust but a fresh."""
    commands = scene.kind == "cmd" and scene.policy.needs_carnet
    return (commands or scene.kind == "evt") and scene.release is None and scene.trust is None


def as_json(scene: Scene) -> dict[str, Any]:
    message, route = scene.message(), scene.route
    return {
        "root": json.dumps(parties().trust_root.to_jwks()),
        "statement": scene.key_set.statement,
        "revoked": [
            *({"sid": sid, "until": until} for sid, until in scene.revocations._sessions.items()),
            *(
                {"sub": sub, "epoch": epoch, "until": until}
                for sub, (epoch, until) in scene.revocations._subjects.items()
            ),
        ],
        "audience": scene.audience,
        "now": scene.now,
        "kind": "command" if scene.kind == "cmd" else "event",
        "rules": {
            "route": {
                "exchange": route.exchange,
                "routingKey": route.routing_key,
                "type": route.type,
            },
            "scopes": sorted(scene.policy.scopes),
            "judgedNow": scene.expiry.carnet_judged_now,
            "maxAge": 7 * 24 * 3600
            if scene.kind == "evt"
            else scene.expiry.max_age.total_seconds(),
        },
        "message": {
            "body": base64.b64encode(message.body).decode(),
            "headers": {
                name: value if isinstance(value, str) else None
                for name, value in message.headers.items()
            },
            "type": message.type,
        },
    }


async def judged_in_node(scenes: Iterable[dict[str, Any]]) -> list[str]:
    node = shutil.which("node")
    assert node is not None, "run: make examples"
    judge = await asyncio.create_subprocess_exec(
        node, str(JUDGE), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(2 * WITHIN):
        said, _ = await judge.communicate(json.dumps(list(scenes)).encode())
    assert judge.returncode == 0
    verdicts: list[str] = json.loads(said)
    return verdicts


@pytest.mark.parametrize(
    ("genuine", "changes"),
    [(command_scene, COMMANDS), (event_scene, EVENTS)],
    ids=["commands", "events"],
)
async def test_each_row_has_the_same_verdict_in_both(
    genuine: Callable[[], Scene], changes: dict[str, Change]
) -> None:
    scenes = {name: change(genuine()) for name, change in changes.items()}
    scenes = {name: scene for name, scene in scenes.items() if is_for_both(scene)}
    assert len(scenes) > len(changes) * 0.9

    verdicts = await judged_in_node(map(as_json, [genuine(), *scenes.values()]))

    assert verdicts[0] == "accepted"
    assert dict(zip(scenes, verdicts[1:], strict=True)) == {
        name: verdict(scene) for name, scene in scenes.items()
    }


async def test_each_key_that_ours_refuses_is_refused() -> None:
    broken = {"kty": "RSA", "e": "AQAB", "n": ROCA_N}
    genuine = [SigningKey.generate(algorithm).public.to_jwk() for algorithm in ALGORITHMS]
    enc = parties().users_enc.public.to_jwk()
    keys = [*genuine, *KEYS.values(), broken]

    verdicts = await judged_in_node(
        [
            *({"kind": "key", "jwk": jwk} for jwk in keys),
            {"kind": "encryption", "jwk": enc},
            {"kind": "encryption", "jwk": enc | {"use": "sig"}},
        ]
    )

    assert verdicts[:3] == ["accepted"] * 3
    assert dict(zip([*KEYS, "ROCA"], verdicts[3:-2], strict=True)) == dict.fromkeys(
        [*KEYS, "ROCA"], "key_set"
    )
    assert verdicts[-2:] == ["accepted", "key_set"]


async def test_each_trust_root_that_ours_refuses_is_refused() -> None:
    genuine = json.dumps(parties().trust_root.to_jwks()).encode()
    verdicts = await judged_in_node(
        {"kind": "root", "root": base64.b64encode(root).decode()}
        for root in [genuine, *ROOTS.values()]
    )

    assert verdicts[0] == "accepted"
    assert dict(zip(ROOTS, verdicts[1:], strict=True)) == dict.fromkeys(ROOTS, "key_set")


async def test_each_statement_that_ours_calls_void_is_void() -> None:
    root = json.dumps(parties().trust_root.to_jwks())
    made = {name: make() for name, make in STATEMENTS.items()}
    texts = {name: one if isinstance(one, str) else one.text for name, one in made.items()}
    genuine = parties().key_set().statement

    verdicts = await judged_in_node(
        {"kind": "statement", "root": root, "statement": text, "now": NOW}
        for text in [genuine, *texts.values()]
    )

    assert verdicts[0] == "accepted"
    assert dict(zip(texts, verdicts[1:], strict=True)) == dict.fromkeys(texts, "key_set")
