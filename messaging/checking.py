"""The program beside a consumer that checks its signatures: `python -m messaging.checking`.

It reads questions from standard input and writes their answers to standard output, until its
input ends. It is given public keys, and what was signed with them, and has nothing else to lose.
"""

import json
import signal
import struct
import sys
from typing import Any, BinaryIO, Final

from auth.keys import VerificationKey

LENGTH: Final = struct.Struct(">I")
"""A question is its length in bytes, and a JSON object:

    keys         public JWKs that were not asked about before; they are counted from 0 on
    signatures   for each: which of the keys, the signing input, the signature in hexadecimal digits

The answer is a byte for each signature: 1 if it holds, else 0.
"""


def main() -> None:
    """Answer until there are no more questions; Ctrl-C is for the consumer, which ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    keys: list[VerificationKey] = []
    while (question := _next(questions)) is not None:
        keys.extend(map(VerificationKey.from_jwk, question["keys"]))
        answers.write(bytes(_holds(keys, *each) for each in question["signatures"]))
        answers.flush()


def _next(questions: BinaryIO) -> dict[str, Any] | None:
    length = questions.read(LENGTH.size)
    if len(length) < LENGTH.size:
        return None
    question: dict[str, Any] = json.loads(questions.read(*LENGTH.unpack(length)))
    return question


def _holds(keys: list[VerificationKey], key: int, signing_input: str, signature: str) -> bool:
    return keys[key].verify(signing_input.encode("ascii"), bytes.fromhex(signature))


if __name__ == "__main__":
    main()
