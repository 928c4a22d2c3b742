"""`python -m services gateway`: the HTTP gateway, set up by the environment (`CARNET_…`)."""

from typing import NoReturn

from services.gateway.service import serve
from services.gateway.settings import GatewaySettings
from services.runtime import run_service


def main() -> NoReturn:
    """Run the gateway to its end."""
    run_service("gateway", GatewaySettings, serve)


if __name__ == "__main__":
    main()
