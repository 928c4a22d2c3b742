"""Filling a queue ahead, on a real broker."""

import uuid

from pamqp.commands import Basic

from benchmarks import filling
from benchmarks.letters import Letter

QUEUE = "filled"
BODIES = [b"", b"short", b"long" * 60_000]


async def test_messages_of_any_length_arrive_whole_in_order_and_as_often_as_wanted(
    amqp_url: str,
) -> None:
    letters = [
        Letter(body, Basic.Properties(message_id=str(uuid.uuid4()), headers={"number": number}))
        for number, body in enumerate(BODIES)
    ]
    await filling.make_queue(amqp_url, QUEUE)

    await filling.fill(amqp_url, QUEUE, letters, times=2)

    taken = await filling.take(amqp_url, QUEUE, 2 * len(letters))
    assert [letter.body for letter in taken] == BODIES * 2
    assert [letter.properties.headers for letter in taken] == [
        letter.properties.headers for letter in letters * 2
    ]


async def test_more_than_are_written_together_arrive(amqp_url: str) -> None:
    letters = [Letter(b"short", Basic.Properties())] * (filling.TOGETHER + 1)
    await filling.make_queue(amqp_url, QUEUE)

    await filling.fill(amqp_url, QUEUE, letters)

    assert await filling.purge(amqp_url, QUEUE) == len(letters)
