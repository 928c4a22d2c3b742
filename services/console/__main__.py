"""`python -m services console`: the operators' console, set up by the environment (`CARNET_…`)."""

from typing import NoReturn

from services.console.service import serve
from services.console.settings import ConsoleSettings
from services.runtime import run_service


def main() -> NoReturn:
    """Run the console to its end."""
    run_service("console", ConsoleSettings, serve)


if __name__ == "__main__":
    main()
