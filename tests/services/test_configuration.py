"""What can be set is written down once; what was set is shown without its secrets."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from typer.testing import CliRunner, Result

import services
from services.cli.config import COMPOSE, READERS, SERVICES, app, every_setting
from services.configuration.catalogue import REQUIRED, settings_of, variable_of
from services.configuration.page import page
from services.configuration.told import HIDDEN, redacted
from services.errors import SettingsError
from services.settings import ProcessSettings, ServiceSettings, Settings, read_settings
from services.web.settings import WebSettings

ROOT: Final = Path(services.__file__).parent.parent
SOURCES: Final = {".js", ".mjs", ".py"}
VARIABLE: Final = re.compile(r"CARNET_[A-Z]+(?:_[A-Z]+)*(?![A-Z_])")

GOOD: Final = {
    "CARNET_AMQP_URL": "amqp://orders:s3cret@localhost:5672/shop",
    "CARNET_DATABASE_URL": "postgresql+asyncpg://orders:s3cret@localhost/orders",
    "CARNET_TRUST_ROOT": "trust-root.json",
    "CARNET_KEY_SET": "key-set.jwt",
    "CARNET_TRUST_STATE": "trust",
    "CARNET_KEYS": "keys",
    "CARNET_PORT": "8001",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Settings with which a service starts, and no other."""
    for variable in {each.variable for each in every_setting()}:
        for name in (variable, f"{variable}_FILE"):
            monkeypatch.delenv(name, raising=False)
    for variable, value in GOOD.items():
        monkeypatch.setenv(variable, value)
    return monkeypatch


def _config(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def test_the_page_says_what_the_code_does() -> None:
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")

    assert written == page(every_setting()), "run: make docs"


def test_whoever_reads_settings_is_on_the_page() -> None:
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)

    readers = {kind for kind in _below(Settings) if kind.__module__.startswith("services.")}

    assert readers - {ProcessSettings, ServiceSettings, WebSettings} == set(READERS.values())


def _below(kind: type[Settings]) -> Iterator[type[Settings]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


def test_no_other_variable_is_named_anywhere() -> None:
    """What a document or a file of the deployment sets, somebody reads."""
    places = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("compose*.yaml")]
    examples = [
        each
        for example in (ROOT / "examples").glob("*")
        if example.name != "node_modules"
        for each in example.rglob("*")
        if each.suffix in SOURCES
    ]
    known = {each.variable for each in every_setting()} | COMPOSE | _variables(examples)

    assert _variables(places) <= known


def _variables(places: Iterable[Path]) -> set[str]:
    return {
        variable.removesuffix("_FILE")
        for place in places
        for variable in VARIABLE.findall(place.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize("reader", READERS)
def test_each_setting_says_what_it_means(reader: str) -> None:
    for setting in settings_of(reader, READERS[reader]):
        assert setting.meaning, setting.variable
        assert setting.default not in {"", "computed"}, setting.variable
        assert "<" not in setting.default, setting.variable


SECRETS: Final = [
    (reader, name)
    for reader, kind in READERS.items()
    for name, setting in zip(kind.model_fields, settings_of(reader, kind), strict=True)
    if setting.secret
]


@pytest.mark.parametrize(("reader", "name"), SECRETS)
def test_each_secret_may_come_from_a_file(
    environment: pytest.MonkeyPatch, tmp_path: Path, reader: str, name: str
) -> None:
    (tmp_path / "secret").write_text("amqp://from:a-file@localhost/\n")
    environment.delenv(variable_of(name), raising=False)
    environment.setenv(f"{variable_of(name)}_FILE", str(tmp_path / "secret"))

    value = getattr(read_settings(READERS[reader]), name)

    assert isinstance(value, SecretStr)
    assert value.get_secret_value() == "amqp://from:a-file@localhost/"


@pytest.mark.parametrize(("reader", "name"), SECRETS)
def test_a_file_that_is_not_there_is_named(
    environment: pytest.MonkeyPatch, tmp_path: Path, reader: str, name: str
) -> None:
    environment.setenv(f"{variable_of(name)}_FILE", str(tmp_path / "nowhere"))
    environment.delenv(variable_of(name), raising=False)

    with pytest.raises(SettingsError, match=f"{variable_of(name)}_FILE: cannot read"):
        read_settings(READERS[reader])


def test_every_secret_that_is_set_somewhere_is_one() -> None:
    """What is called a password, a passphrase or a broker's or database's URL is a secret."""
    telling = re.compile(r"PASSWORD|PASSPHRASE|SECRET|AMQP_URL|DATABASE_URL|OPERATOR_URL")

    for setting in every_setting():
        assert setting.secret or not telling.search(setting.variable), setting.variable


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("amqp://me:p@host:5672/shop", "amqp://me:***@host:5672/shop"),
        ("amqp://me@host", "amqp://me@host"),
        ("amqp://host/", "amqp://host/"),
        ("amqp://me:p@one,amqp://me:q@two", "amqp://me:***@one, amqp://me:***@two"),
        ("sqlite+aiosqlite:////data/users.db", "sqlite+aiosqlite:////data/users.db"),
        ("postgresql+asyncpg://me:p@db/x?password=p", "postgresql+asyncpg://me:***@db/x"),
        ("correct horse battery staple", HIDDEN),
        ("amqp://me:pa/ss@host", HIDDEN),
        ("amqp://me:1/ss@host", HIDDEN),
        ("amqp://me:1?ss@host", HIDDEN),
        ("amqp://me:1#ss@host", HIDDEN),
        ("amqp://me:p@ss@host", HIDDEN),
        ("amqp://me:1,amqp://ss@host", HIDDEN),
        ("amqp://me:[@host", HIDDEN),
        ("", HIDDEN),
    ],
)
def test_of_a_secret_only_what_is_around_it_is_shown(value: str, shown: str) -> None:
    assert redacted(value) == shown


@given(middle=st.text(alphabet=":/?#@ ,;&=%[]a1", max_size=12), number=st.booleans())
def test_no_part_of_a_password_is_shown(middle: str, *, number: bool) -> None:
    """Whoever forgot to quote it."""
    first = "4711" if number else "s3cret"

    shown = redacted(f"amqp://me:{first}{middle}hush@host:5672/shop")

    assert first not in shown
    assert "hush" not in shown


def test_each_value_is_shown_with_where_it_comes_from(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "amqp_url"
    file.write_text(GOOD["CARNET_AMQP_URL"])
    environment.delenv("CARNET_AMQP_URL")
    environment.setenv("CARNET_AMQP_URL_FILE", str(file))

    shown = {
        each["variable"]: each for each in json.loads(_config("show", "orders", "--json").stdout)
    }

    assert _of(shown["CARNET_AMQP_URL"]) == (
        "amqp://orders:***@localhost:5672/shop",
        "file",
        str(file),
    )
    assert _of(shown["CARNET_PORT"]) == ("8001", "environment", None)
    assert _of(shown["CARNET_LOG_LEVEL"]) == ("info", "default", None)
    assert _of(shown["CARNET_KEY_PASSPHRASE"]) == (None, "default", None)


def _of(told: dict[str, str | None]) -> tuple[str | None, ...]:
    return told["value"], told["from"], told["file"]


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("service", [*SERVICES, "up"])
def test_no_secret_is_shown(
    environment: pytest.MonkeyPatch, service: str, options: tuple[str, ...]
) -> None:
    environment.setenv("CARNET_KEY_PASSPHRASE", "s3cret")

    said = [_config(command, service, *options).output for command in ("show", "check")]

    assert said[0]
    assert "s3cret" not in "".join(said)


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_in_order_passes(environment: pytest.MonkeyPatch, service: str) -> None:
    environment.setenv("CARNET_AMQP_URL", "amqps://a:b@broker.example/")
    checked = _config("check", service, "--json")

    assert (checked.exit_code, json.loads(checked.stdout)) == (
        0,
        {"ok": True, "problems": [], "doubts": []},
    )


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"CARNET_KEYS": None}, [("CARNET_KEYS", "missing")]),
        ({"CARNET_PORT": "s3cret"}, [("CARNET_PORT", "invalid")]),
        ({"CARNET_ORDERS_SHARD": "3-1"}, [("CARNET_ORDERS_SHARD", "invalid")]),
        ({"CARNET_ORDERS_SHARD": "3"}, [(None, "unfit")]),
        (
            {"CARNET_PORT": "70000", "CARNET_KEY_SET": None, "CARNET_KEYS_FILE": "/nowhere"},
            [("CARNET_KEY_SET", "missing"), ("CARNET_PORT", "invalid")],
        ),
        (
            {"CARNET_KEYS": None, "CARNET_KEYS_FILE": "/nowhere", "CARNET_PORT": "0"},
            [("CARNET_KEYS", "unreadable"), ("CARNET_PORT", "invalid")],
        ),
    ],
)
def test_all_that_is_wrong_is_said_at_once(
    environment: pytest.MonkeyPatch,
    changes: dict[str, str | None],
    problems: list[tuple[str | None, str]],
) -> None:
    for variable, value in changes.items():
        environment.setenv(variable, value) if value else environment.delenv(variable)

    checked = _config("check", "orders", "--json")

    told = json.loads(checked.stdout)
    assert (checked.exit_code, told["ok"]) == (1, False)
    assert [(each["variable"], each["code"]) for each in told["problems"]] == problems
    assert "s3cret" not in checked.output
    if len(problems) == 1:  # a start stops at the first file that it cannot read
        with pytest.raises(SettingsError, match=re.escape(told["problems"][0]["detail"])):
            read_settings(SERVICES["orders"])


@pytest.mark.parametrize(
    ("variable", "value", "doubt"),
    [
        ("CARNET_AMPQ_URL", "x", "CARNET_AMPQ_URL: nobody reads it; do you mean CARNET_AMQP_URL?"),
        ("CARNET_PORT_FILE", "x", "CARNET_PORT and CARNET_PORT_FILE are both set"),
        ("CARNET_PREFETCH", "10", "CARNET_CONCURRENCY=16: no more than CARNET_PREFETCH=10"),
        ("CARNET_AMQP_URL", "amqp://a:b@broker.example/", "travels in the clear"),
    ],
)
def test_what_can_hardly_be_meant_is_said(
    environment: pytest.MonkeyPatch, variable: str, value: str, doubt: str
) -> None:
    environment.setenv(variable, value)

    checked = _config("check", "orders")

    assert checked.exit_code == 0
    assert f"warn {doubt}" in checked.output or doubt in checked.output


def test_settings_are_listed_by_reader() -> None:
    listed = {
        each["variable"]: each for each in json.loads(_config("list", "users", "--json").stdout)
    }

    assert "CARNET_LOCKOUT" in listed
    assert "CARNET_PREFETCH" not in listed
    assert listed["CARNET_PORT"]["default"] == REQUIRED
    assert listed["CARNET_AMQP_URL"]["file_variable"] == "CARNET_AMQP_URL_FILE"
    assert "CARNET_LOCKOUT  [true]  true or false" in _config("list").output


def test_what_is_missing_is_said_in_one_breath(environment: pytest.MonkeyPatch) -> None:
    for variable in GOOD:
        environment.delenv(variable)

    with pytest.raises(SettingsError) as raised:
        read_settings(SERVICES["orders"])

    assert str(raised.value) == (
        "settings: CARNET_AMQP_URL, CARNET_TRUST_ROOT, CARNET_KEY_SET, CARNET_TRUST_STATE, "
        "CARNET_KEYS, CARNET_PORT, CARNET_DATABASE_URL: are missing; set each, or …_FILE to a file "
        "with it"
    )


@pytest.mark.parametrize(
    ("watches", "said"),
    [
        ("orders=127.0.0.1:8003", "is not of the form name=http://host:port"),
        ("orders=http://me:secret@one", "is not of the form name=http://host:port"),
        ("a=http://one,a=http://two", "a name stands for one service: give each its own"),
    ],
)
def test_what_the_console_cannot_watch_is_said(
    environment: pytest.MonkeyPatch, watches: str, said: str
) -> None:
    environment.setenv("CARNET_CONSOLE_WATCHES", watches)

    checked = _config("check", "console")

    assert checked.exit_code == 1
    assert f"FAIL CARNET_CONSOLE_WATCHES: {said}" in checked.output or said in checked.output
    assert "secret" not in checked.output
