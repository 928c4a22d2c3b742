"""Makes sure that a broker can be run on this machine, and says with what."""

import asyncio
import sys

from services.local.broker import find_means
from services.local.container import IMAGE
from services.local.errors import LocalError


def main() -> None:
    try:
        installation = asyncio.run(find_means(_say))
    except LocalError as error:
        sys.exit(f"carnet: {error}")
    _say(f"brokers can be run with {installation or f'the image {IMAGE}'}")


def _say(line: str) -> None:
    sys.stderr.write(f"carnet: {line}\n")


if __name__ == "__main__":
    main()
