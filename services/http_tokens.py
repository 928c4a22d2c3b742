"""Tokens for the broker, asked of the user service over HTTP (RFC 7523)."""

import ssl
from collections.abc import Callable
from typing import Final, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auth.assertion import sign_assertion
from auth.seal import Sealer
from messaging.errors import BrokerLoginError, BrokerTokenError
from messaging.login import BrokerToken

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ANSWER_WITHIN: Final = 5.0


class _Answer(BaseModel):
    """A successful token response (RFC 6749 §5.1)."""

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    access_token: str = Field(min_length=1, max_length=8192)
    token_type: Literal["Bearer"]
    expires_in: int = Field(gt=0, le=24 * 3600)


class _Refusal(BaseModel):
    """An error response (RFC 6749 §5.2)."""

    error: str = Field(pattern=r"^[a-z_]{1,64}$")


class HttpTokens:
    """Asks the user service for tokens for the broker, each time anew."""

    def __init__(
        self, url: str, sealer: Sealer, *, resource: str, clock: Callable[[], float]
    ) -> None:
        """resource: the broker's name, its `resource_server_id`."""
        self._url = url
        self._sealer = sealer
        self._resource = resource
        self._clock = clock
        self._tls = ssl.create_default_context()

    async def __call__(self) -> BrokerToken:
        """A token that was made for us just now.

        Raises:
            BrokerTokenError: the user service does not answer, or not now.
            BrokerLoginError: it refuses.
        """
        try:
            # No proxy of the environment's: what comes back opens the broker.
            async with httpx.AsyncClient(
                timeout=ANSWER_WITHIN, trust_env=False, verify=self._tls
            ) as client:
                answer = await client.post(self._url, data=self._request())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BrokerTokenError(
                f"no token for the broker: {self._url} does not answer ({type(error).__name__})"
            ) from error
        return self._read(answer)

    def _request(self) -> dict[str, str]:
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": sign_assertion(
                self._sealer.client_id,
                self._sealer.signing_key(),
                audience=self._resource,
                now=self._clock(),
            ),
        }

    def _read(self, answer: httpx.Response) -> BrokerToken:
        try:
            if answer.is_success:
                granted = _Answer.model_validate_json(answer.content)
                return BrokerToken(granted.access_token, granted.expires_in)
            if answer.is_client_error:
                refusal = _Refusal.model_validate_json(answer.content)
                raise BrokerLoginError(
                    f"{self._url} gives {self._sealer.client_id} no token for the broker: "
                    f"{refusal.error}"
                )
        except ValidationError as error:
            raise BrokerTokenError(
                f"no token for the broker: what answers at {self._url} is no token endpoint"
            ) from error
        raise BrokerTokenError(f"no token for the broker: {self._url} answers {answer.status_code}")
