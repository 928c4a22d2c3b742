"""How a service logs in at the broker: by its URL's password, or by tokens of the user service."""

import time

from auth.seal import Sealer
from messaging.login import TokenSource
from services.errors import SettingsError
from services.settings import ProcessSettings


def broker_tokens(settings: ProcessSettings, sealer: Sealer) -> TokenSource | None:
    """What the service logs in with; None where it is its URL's password.

    sealer: whose key, the one that seals, proves who asks.

    Raises:
        SettingsError: it is not said where tokens are to be had.
    """
    if settings.broker_login == "password":
        return None
    if settings.broker_token_url is None:
        raise SettingsError("settings: CARNET_BROKER_LOGIN=token needs CARNET_BROKER_TOKEN_URL")
    # A service that logs in by password does without an HTTP client, its time and its memory.
    from services.http_tokens import HttpTokens  # noqa: PLC0415

    return HttpTokens(
        settings.broker_token_url, sealer, resource=settings.broker_resource, clock=time.time
    )
