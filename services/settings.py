"""The settings that every service has, read from the environment as `CARNET_…`.

Each may be given as `CARNET_…_FILE` instead: a file with the value, as container secrets are.
Only a service's `__main__` reads settings; everything behind it receives what it needs.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from auth.feed import MAX_SILENCE
from messaging.nodes import parse_urls
from messaging.sharding import MAX_SHARDS
from messaging.trust import BEAT
from services.errors import SettingsError

PREFIX: Final = "CARNET_"

BrokerLogin = Literal["password", "token"]
BROKER_RESOURCE: Final = "carnet-broker"
"""The broker's name in the tokens that log in there, where no other is set."""

KEY_OPENER: Final = "Passphrase of the private keys, where they are encrypted"
BROKER_LOGIN: Final = "Whether the URL's password logs in, or the issuer's tokens"
ORDERS_SHARDS: Final = "Queues that the order commands are spread over"
"""What these settings mean to everybody who reads them."""

LONGEST_SILENCE: Final = 60.0
"""Seconds; who sets more has hardly meant it."""


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a setting.

    variable: None where it is of no one setting.
    code: `missing`, `invalid`, `unreadable` (its file), or `unfit` (several do not go together).
    detail: one line that names the variable, and never its value.
    """

    variable: str | None
    code: Literal["missing", "invalid", "unreadable", "unfit"]
    detail: str

    def as_json(self) -> dict[str, str | None]:
        return asdict(self)


class _FileSource(PydanticBaseSettingsSource):
    """Takes `CARNET_X` from the file that `CARNET_X_FILE` names."""

    def get_field_value(self, _field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{variable}: cannot read {path}: {error}") from error

    def __call__(self) -> dict[str, Any]:
        values = {
            name: self.get_field_value(info, name)[0]
            for name, info in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}


class Settings(BaseSettings):
    """Base of all settings: `CARNET_X`, or the file that `CARNET_X_FILE` names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _FileSource(settings_cls)

    def doubts(self) -> Iterator[str]:
        """What can be set and can hardly be meant, a line each, with what to do."""
        yield from ()


class ProcessSettings(Settings):
    """What every process needs to know that is a client of the broker and a relying party."""

    amqp_url: SecretStr = Field(
        description="The broker, amqp://name:password@host:port/vhost; the nodes of a cluster each "
        "by such a URL, with spaces or commas between them"
    )
    broker_login: BrokerLogin = Field(default="password", description=BROKER_LOGIN)
    broker_token_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s?#]+$",
        description="Where the user service gives tokens for the broker: http(s)://…/oauth/token",
    )
    broker_resource: str = Field(
        default=BROKER_RESOURCE,
        pattern=r"^[A-Za-z0-9_-]{1,100}$",
        description="The broker's name in these tokens: its auth_oauth2.resource_server_id",
    )
    trust_root: Path = Field(description="File with the trust root's public JWKs")
    key_set: Path = Field(description="File with the key set statement")
    trust_state: Path = Field(
        description="Folder of this service's own, to keep the newest key set statement in"
    )
    keys: Path = Field(description="Folder with this service's private keys")
    key_passphrase: SecretStr | None = Field(default=None, description=KEY_OPENER)
    trust_max_silence: float = Field(
        default=MAX_SILENCE, gt=0, description="Seconds of silence after which nothing is judged"
    )
    orders_shards: int = Field(default=1, ge=1, le=MAX_SHARDS, description=ORDERS_SHARDS)
    services: Path | None = Field(
        default=None,
        description="Folder with the service.toml of each service of one's own, as <client>.toml",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on for HTTP")
    port: int = Field(ge=1, le=65535, description="Port to listen on for HTTP")
    log_format: Literal["console", "json"] = Field(
        default="json", description="Log lines for people, or JSON for machines"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What is logged: this, and what is graver"
    )
    start_deadline: float = Field(default=30, gt=0, description="Seconds to be up, or give up")
    shutdown_deadline: float = Field(default=20, gt=0, description="Seconds to drain in")

    def doubts(self) -> Iterator[str]:
        yield from super().doubts()
        silence = f"CARNET_TRUST_MAX_SILENCE={self.trust_max_silence:g}"
        if self.trust_max_silence < 2 * BEAT:
            yield (
                f"{silence}: a heartbeat comes every {BEAT:g} s, so one that is late stops "
                f"everything; set it to {MAX_SILENCE:g}"
            )
        if self.trust_max_silence > LONGEST_SILENCE:
            yield (
                f"{silence}: for so long may whoever is cut off not hear of a revocation; "
                f"set it to {MAX_SILENCE:g}"
            )
        for url in parse_urls(self.amqp_url.get_secret_value()):
            if url.scheme == "amqp" and not is_loopback(url.host or ""):
                yield (
                    f"CARNET_AMQP_URL: what logs in at {url.host} travels in the clear; use "
                    "amqps://, unless that network is yours alone"
                )

    @property
    def passphrase(self) -> bytes | None:
        if self.key_passphrase is None:
            return None
        return self.key_passphrase.get_secret_value().encode()


class ServiceSettings(ProcessSettings):
    """What every service needs to know: those have a database each."""

    database_url: SecretStr = Field(description="The service's own database, as SQLAlchemy URL")


S = TypeVar("S", bound=BaseSettings)


def read_settings(kind: type[S]) -> S:
    """Read the settings, or say in one line which are missing or wrong.

    Raises:
        SettingsError: names the variables, never their values.
    """
    try:
        return kind()
    except ValidationError as error:
        raise SettingsError(f"settings: {'; '.join(_in_short(list(explain(error))))}") from None


def _in_short(problems: list[Problem]) -> Iterator[str]:
    """Each problem; what is missing is said at once, since it is often everything."""
    missing = [str(problem.variable) for problem in problems if problem.code == "missing"]
    if len(missing) > 1:
        yield f"{', '.join(missing)}: are missing; set each, or …_FILE to a file with it"
    yield from (
        problem.detail for problem in problems if problem.code != "missing" or len(missing) == 1
    )


def explain(error: ValidationError) -> Iterator[Problem]:
    """What is wrong, setting by setting, in words that name no value."""
    for fault in error.errors(include_input=False):
        said = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:
            yield Problem(None, "unfit", said)
            continue
        variable = f"{PREFIX}{fault['loc'][0]}".upper()
        if fault["type"] == "missing":
            detail = f"{variable}: is missing; set it, or {variable}_FILE to a file with it"
            yield Problem(variable, "missing", detail)
        else:
            yield Problem(variable, "invalid", f"{variable}: {said}")
