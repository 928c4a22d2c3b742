"""What somebody with a login at the broker may try with messages that are genuine in part."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import aio_pika.exceptions
import pytest

from auth.keys import SigningKey
from auth.strict import decode_base64url, encode_base64url
from tests.attacks.field import Field, fresh
from tests.auth.forge import NOW, Scene, access_token, command_scene, parties, release
from tests.brokers import Brokers
from tests.messaging.raw import raw_channel

MALLORY: Final = "5b1e2c3d-0a9b-4c8d-8e7f-6a5b4c3d2e1f"
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256's group (FIPS 186-4 D.1.2.3)."""


def _of_mallory(scene: Scene) -> Scene:
    return scene.with_carnet(sub=MALLORY, sid="session-of-mallory-01", jti="carnet-of-mallory-01")


def _twin(text: str) -> str:
    signing_input, _, signature = text.rpartition(".")
    raw = decode_base64url(signature)
    s = _ORDER - int.from_bytes(raw[32:], "big")
    return f"{signing_input}.{encode_base64url(raw[:32] + s.to_bytes(32, 'big'))}"


async def test_an_exact_replay_has_no_second_effect(field: Field) -> None:
    genuine = fresh(command_scene())
    before = await field.orders()

    for _ in range(3):
        await field.publish(genuine)
    assert (await field.next_event()).type == "orders.placed.v1"

    await field.still_places_orders()
    assert await field.orders() == before + 2


async def test_a_replay_under_another_message_id_has_no_second_effect(field: Field) -> None:
    """The property belongs to a publish attempt and proves nothing; the seal's `jti` does."""
    genuine = fresh(command_scene())
    before = await field.orders()

    for number in range(3):
        await field.publish(genuine, message_id=f"{number}", app_id="somebody-else")
    assert (await field.next_event()).type == "orders.placed.v1"

    await field.still_places_orders()
    assert await field.orders() == before + 2


async def test_the_twin_of_a_signature_makes_no_second_message(field: Field) -> None:
    """(r, n - s) holds wherever (r, s) does: a replay is told by the claims, not by the bytes."""
    genuine = fresh(command_scene())
    before = await field.orders()

    await field.publish(genuine)
    assert (await field.next_event()).type == "orders.placed.v1"
    await field.publish(replace(genuine, seal=replace(genuine.seal, mangle=_twin)))

    await field.still_places_orders()
    assert await field.orders() == before + 2


async def test_a_refusal_provoked_for_the_order_of_somebody_else_is_told_to_nobody(
    field: Field,
) -> None:
    """Mallory's own command under the id of Alice's: no event says anything of her order."""
    genuine = fresh(command_scene())
    await field.publish(genuine)
    assert (await field.next_event()).type == "orders.placed.v1"
    before = await field.rows()

    await field.publish(_of_mallory(genuine))

    assert await field.reason() == "id_reused"
    assert await field.rows() == before
    # The next event is the next order's: nothing was told in between.
    await field.still_places_orders()


async def test_another_publisher_that_claims_an_id_first_takes_no_order(field: Field) -> None:
    """One that may not publish the type is refused before the inbox: the id stays free."""
    genuine = fresh(command_scene())
    stranger = genuine.with_seal(iss="report-service")

    await field.publish(replace(stranger, seal=stranger.seal.with_key(parties().reports)))
    assert await field.reason() == "wrong_client"
    await field.publish(genuine)

    assert (await field.next_event()).type == "orders.placed.v1"
    await field.still_places_orders()


async def test_an_access_token_is_no_carnet_on_the_broker(field: Field) -> None:
    await field.publish(replace(fresh(command_scene()), carnet=access_token()))

    assert await field.reason() == "wrong_type"
    await field.still_places_orders()


def _late() -> Scene:
    """An order that came too late, and that an operator releases."""
    now = NOW + 26 * 3600
    return replace(fresh(command_scene()), now=now, release=release(now=now))


def _signed_by(key: SigningKey, kid: str | None = None) -> Callable[[Scene], Scene]:
    def change(scene: Scene) -> Scene:
        token = release(now=int(scene.now)).with_key(key)
        return replace(scene, release=token if kid is None else token.with_header(kid=kid))

    return change


FORGED: Final[dict[str, Callable[[Scene], Scene]]] = {
    "empty": lambda s: s.with_headers(carnet_release=""),
    "no token": lambda s: s.with_headers(carnet_release="a.b.c"),
    "a number": lambda s: s.with_headers(carnet_release=7),
    "a table": lambda s: s.with_headers(carnet_release={"released": True}),
    "an access token": lambda s: replace(s, release=access_token()),
    "a carnet": lambda s: replace(s, release=s.carnet),
    "a seal": lambda s: s.with_headers(carnet_release=command_scene().seal.text),
    "there twice": lambda s: s.with_headers(**{"Carnet-Release": "x"}),
    "a stranger's": _signed_by(parties().stranger),
    "a stranger's in the issuer's name": _signed_by(parties().stranger, parties().issuer.kid),
    "the sealing client's own": _signed_by(parties().gateway),
    "the trust root's": _signed_by(parties().root),
    "for another service": lambda s: s.with_release(aud="api-gateway"),
    "for an hour": lambda s: s.with_release(exp=int(s.now) + 3600),
    "from the future": lambda s: s.with_release(iat=int(s.now) + 60, exp=int(s.now) + 120),
}


@pytest.mark.parametrize("what", FORGED)
async def test_a_release_that_an_operator_never_signed_lets_nothing_in(
    field: Field, what: str
) -> None:
    """Nor does it make the message a refused one, which it may not be: no seal covers it."""
    before = await field.rows()

    await field.publish(FORGED[what](_late()))

    assert await field.reason() == "release_refused"
    assert await field.rows() == before
    await field.still_places_orders()


async def test_a_release_of_another_message_lets_nothing_in(field: Field) -> None:
    released = _late()
    other = fresh(released)
    before = await field.rows()

    await field.publish(
        other.with_headers(carnet_release=released.message().headers["carnet-release"])
    )

    assert await field.reason() == "release_refused"
    assert await field.rows() == before
    await field.still_places_orders()


async def test_a_release_that_is_replayed_has_no_second_effect(field: Field) -> None:
    late = _late()
    field.trust.scene = late
    message = late.message()
    before = await field.orders()

    for _ in range(3):
        await field.send(message)
    assert (await field.next_event()).type == "orders.placed.v1"

    await field.still_places_orders()
    assert await field.orders() == before + 2


async def test_a_release_does_nothing_to_what_is_done(field: Field) -> None:
    genuine = fresh(command_scene())
    before = await field.orders()
    await field.publish(genuine)
    assert (await field.next_event()).type == "orders.placed.v1"

    await field.publish(genuine.with_release())
    await field.publish(genuine.with_release(what="discard"))

    await field.still_places_orders()
    assert await field.orders() == before + 2


async def test_a_release_that_is_expired_lets_nothing_in(field: Field) -> None:
    late = _late()
    before = await field.rows()

    await field.publish(replace(late, now=late.now + 11 * 60))

    assert await field.reason() == "release_expired"
    assert await field.rows() == before
    await field.still_places_orders()


async def test_a_release_gives_no_scope_that_the_carnet_did_not_have(field: Field) -> None:
    before = await field.orders()

    await field.publish(_late().with_release(scope="orders:read"))

    assert await field.reason() == "insufficient_scope"
    assert (await field.next_event()).type == "orders.refused.v1"
    assert await field.orders() == before
    await field.still_places_orders()


async def test_a_release_lets_no_other_body_in(field: Field) -> None:
    before = await field.rows()

    await field.publish(replace(_late(), sent_body=b'{"lines":[],"currency":"EUR"}'))

    assert await field.reason() == "seal_mismatch"
    assert await field.rows() == before
    await field.still_places_orders()


DEATHS: Final[dict[str, dict[str, Any]]] = {
    "a thousand deaths": {"x-death": [{"queue": "orders.commands", "count": 1000}]},
    "deaths that are none": {"x-death": "forged", "x-first-death-queue": 7},
    "a thousand deliveries": {"x-delivery-count": 1000, "x-acquired-count": 1000},
    "a thousand attempts": {"carnet-attempt": "1000", "carnet-attempts": 1000},
    "an end that was decided": {"carnet-reason": "poison", "carnet-queue": "elsewhere"},
}


@pytest.mark.parametrize("what", DEATHS)
async def test_forged_counters_end_no_genuine_order(field: Field, what: str) -> None:
    await field.publish(replace(fresh(command_scene()), headers=DEATHS[what]))

    assert (await field.next_event()).type == "orders.placed.v1"
    await field.still_places_orders()


async def test_headers_that_fill_a_frame_are_survived(field: Field) -> None:
    filler = {f"note-{number}": "x" * 1000 for number in range(110)}

    await field.publish(replace(fresh(command_scene()), body=b"no json", headers=filler))

    assert await field.reason() == "invalid_body"
    assert (await field.next_event()).type == "orders.refused.v1"
    await field.still_places_orders()


async def test_headers_over_a_frame_end_only_the_connection_that_sent_them(
    field: Field, brokers: Brokers
) -> None:
    """The broker refuses them: 128 KiB of headers reach nobody."""
    broker = await brokers.any()
    async with broker.fresh_vhost() as vhost, raw_channel(broker.url(vhost)) as raw:
        with pytest.raises((aio_pika.exceptions.AMQPError, ConnectionError)):
            await raw.publish("amq.topic", "x", b"", headers={"note": "x" * 131_072})

    await field.still_places_orders()


BODIES: Final[dict[str, bytes]] = {
    "not UTF-8": b"\xff\xfe{}",
    "10 MB": b'{"lines": "%s"}' % (b"x" * 10_000_000),
    "100,000 deep": b"[" * 100_000,
    "of another contract": b'{"order_id": "%s"}' % str(uuid.uuid4()).encode(),
    "not a number": b'{"lines": [{"sku": "tea", "quantity": NaN, "unit_price": "1"}]}',
}


@pytest.mark.parametrize("what", BODIES)
async def test_a_sealed_body_that_is_no_order_is_refused(field: Field, what: str) -> None:
    """Genuine to the last byte: the gateway itself has gone mad."""
    before = await field.orders()

    await field.publish(replace(fresh(command_scene()), body=BODIES[what]))

    assert await field.reason() == "invalid_body"
    assert (await field.next_event()).type == "orders.refused.v1"
    assert await field.orders() == before
    await field.still_places_orders()


async def test_a_type_that_the_queue_does_not_serve_is_refused(field: Field) -> None:
    await field.publish(replace(fresh(command_scene()), sent_type="orders.placed.v1"))

    assert await field.reason() == "unknown_type"
    await field.still_places_orders()
