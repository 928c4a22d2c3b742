"""The program beside a consumer that checks its signatures: `python -m messaging.checking`.

It reads questions from standard input and writes their answers to standard output, until its
input ends. It is given public keys, and what was signed with them, and has nothing else to lose.
"""

import json
import signal
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from auth.keys import VerificationKey

LENGTH: Final = struct.Struct(">I")
SIGNED: Final = struct.Struct(">III")
"""A question has two parts, each behind its length in bytes:

    keys         a JSON array of public JWKs not asked about before; they are counted from 0 on
    signatures   for each: which of the keys, the lengths of signing input and signature, and these

The answer is a byte for each signature: 1 if it holds, else 0.
"""


def main() -> None:
    """Answer until there are no more questions; Ctrl-C is for the consumer, which ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    keys: list[VerificationKey] = []
    while new := _next(questions):
        keys.extend(map(VerificationKey.from_jwk, json.loads(new)))
        signatures = unpack(_next(questions))
        answers.write(bytes(keys[key].verify(signed, by) for key, signed, by in signatures))
        answers.flush()


def pack(signatures: Iterable[tuple[int, bytes, bytes]]) -> bytes:
    """The second part of a question."""
    return b"".join(
        SIGNED.pack(key, len(signing_input), len(signature)) + signing_input + signature
        for key, signing_input, signature in signatures
    )


def unpack(part: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """What was packed."""
    at = 0
    while at < len(part):
        key, signed, by = SIGNED.unpack_from(part, at)
        start = at + SIGNED.size
        at = start + signed + by
        yield key, part[start : start + signed], part[start + signed : at]


def _next(questions: BinaryIO) -> bytes:
    length = questions.read(LENGTH.size)
    return questions.read(*LENGTH.unpack(length)) if len(length) == LENGTH.size else b""


if __name__ == "__main__":
    main()
