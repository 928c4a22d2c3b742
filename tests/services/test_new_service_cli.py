"""`carnet new service` and `carnet services`: what is written, what is refused, what is told."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect
from typer.testing import CliRunner

from auth.statement import KeySetDraft
from messaging.migrations import upgrade
from services.authority import Authority
from services.cli.main import app
from services.cli.new import names, write
from services.declared import read_all_declared
from services.errors import StartError
from services.local.definitions import generate_logins, stack_definitions

ROOT = Path(__file__).parents[2]
CLI = CliRunner()


def new(folder: Path, name: str, *more: str) -> tuple[int, str]:
    result = CLI.invoke(app, ["new", "service", name, "--into", str(folder), *more])
    return result.exit_code, result.output


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_service_has_all_that_it_needs(tmp_path: Path) -> None:
    code, said = new(tmp_path, "stock-keeper")

    assert code == 0
    assert files(tmp_path / "stock_keeper") == {
        "README.md",
        "__init__.py",
        "__main__.py",
        "app.py",
        "contract.py",
        "handlers.py",
        "migrations/__init__.py",
        "migrations/env.py",
        "migrations/versions/0001_first.py",
        "migrations/versions/__init__.py",
        "service.toml",
        "settings.py",
        "store.py",
        "tests/__init__.py",
        "tests/test_service.py",
        "work.py",
    }
    for path in (tmp_path / "stock_keeper").rglob("*.py"):
        compile(path.read_text(), path, "exec")
        assert "${" not in path.read_text()
    for line in ("carnet services add", "carnet up", "carnet services run stock-keeper"):
        assert line in said


def test_json_says_what_was_written_and_what_to_do(tmp_path: Path) -> None:
    said = json.loads(new(tmp_path, "billing", "--json")[1])

    assert said["client"] == "billing"
    assert set(said["files"]) == files(tmp_path / "billing")
    assert said["next"][-1] == "carnet services run billing"


@pytest.mark.parametrize(
    "name",
    [
        "Billing",
        "b",
        "2nd",
        "billing.py",
        "../billing",
        "bil/ling",
        "billing-",
        "bil--ling",
        "",
        "x" * 64,
        "rés",
        "orders",
        "users",
        "tokens",
        "order-service",
        "api-gateway",
        "services",
        "auth",
        "issuer",
        "json",
        "asyncio",
        "class",
        "match",
    ],
)
def test_a_name_is_refused(tmp_path: Path, name: str) -> None:
    code, _ = new(tmp_path, name)

    assert code != 0
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "billing").mkdir()
    (tmp_path / "billing" / "app.py").write_text("mine")

    result = CLI.invoke(app, ["new", "service", "billing", "--into", str(tmp_path)])

    assert isinstance(result.exception, StartError)
    assert "nothing is overwritten" in str(result.exception)
    assert files(tmp_path) == {"billing/app.py"}
    assert (tmp_path / "billing" / "app.py").read_text() == "mine"


def _tables(url: str) -> dict[str, set[tuple[object, ...]]]:
    """Columns and indexes of each table."""
    engine = create_engine(url)
    with engine.connect() as connection:
        looked = inspect(connection)
        tables: dict[str, set[tuple[object, ...]]] = {}
        for name in set(looked.get_table_names()) - {"alembic_version"}:
            columns = looked.get_columns(name)
            tables[name] = {(each["name"], str(each["type"]), each["nullable"]) for each in columns}
            tables[name] |= {
                (tuple(each["column_names"]), each["unique"]) for each in looked.get_indexes(name)
            }
    engine.dispose()
    return tables


async def test_its_migration_makes_the_tables_that_it_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a change of the tables of messaging shows here that the template needs it too."""
    write(tmp_path / "noted", names("noted", "noted"))
    monkeypatch.syspath_prepend(str(tmp_path))
    import noted.store  # type: ignore[import-not-found]  # noqa: PLC0415

    await upgrade(f"sqlite+aiosqlite:///{tmp_path}/migrated.db", tmp_path / "noted" / "migrations")
    engine = create_engine(f"sqlite:///{tmp_path}/wanted.db")
    noted.store.METADATA.create_all(engine)
    engine.dispose()

    migrated, wanted = (
        _tables(f"sqlite:///{tmp_path}/{name}.db") for name in ("migrated", "wanted")
    )
    assert migrated == wanted


def _started(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "noted"],
        cwd=folder,
        env={"PATH": "", "CARNET_LOG_FORMAT": "console"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_policy_it_does_not_start(tmp_path: Path) -> None:
    write(tmp_path / "noted", names("noted", "noted"))
    genuine = _started(tmp_path)
    assert "settings: " in genuine.stderr  # it came as far as its settings, of which there are none

    app_file = tmp_path / "noted" / "app.py"
    app_file.write_text(app_file.read_text().replace("requires(WRITE), ", "None, "))
    without = _started(tmp_path)

    assert without.returncode != 0
    assert "WriteNote needs a Policy" in without.stderr


@pytest.mark.parametrize(
    ("file", "old", "new_text", "said"),
    [
        ("service.toml", "hears = []", 'hears = ["orders.placed.v1"]', "has no handler"),
        ("service.toml", '"noted.write.v1"', '"noted.wrote.v1"', "has no line in service.toml"),
        (
            "service.toml",
            'scopes = ["noted:write"]',
            'scopes = ["noted:read"]',
            "requires noted:write",
        ),
    ],
)
def test_what_it_does_is_what_it_declares(
    tmp_path: Path, file: str, old: str, new_text: str, said: str
) -> None:
    write(tmp_path / "noted", names("noted", "noted"))
    path = tmp_path / "noted" / file
    path.write_text(path.read_text().replace("events =", "hears = []\nevents ="))
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new_text))

    checked = subprocess.run(
        [sys.executable, "-c", "from noted.app import SERVICE; SERVICE.check()"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert said in checked.stderr


def add(folder: Path, state: Path, *more: str) -> str:
    result = CLI.invoke(app, ["services", "add", str(folder), "--state", str(state), *more])
    assert result.exit_code == 0, result.output
    return result.output


def test_an_added_service_is_listed_with_its_keys_its_rights_and_a_login(tmp_path: Path) -> None:
    new(tmp_path, "billing")
    state = tmp_path / "state"

    for _ in range(2):  # repeating changes nothing
        said = json.loads(add(tmp_path / "billing", state, "--json"))

    assert said["next"] == ["carnet up", "carnet services run billing"]
    client = KeySetDraft.of(Authority(state).latest()).clients["billing"]
    assert "billing.written.v1" in client["publishes"]
    assert {path.name for path in (state / "keys" / "billing").iterdir()} == {"seal.pem", "enc.pem"}
    declared = read_all_declared(state / "services")
    definitions = stack_definitions(generate_logins(declared), declared=declared)
    assert "billing" in {user["name"] for user in definitions["users"]}
    assert "billing.commands" in {queue["name"] for queue in definitions["queues"]}
    assert Authority(state).latest().version == 1


def test_the_stack_s_own_services_are_listed(tmp_path: Path) -> None:
    new(tmp_path, "billing")
    add(tmp_path / "billing", tmp_path / "state")

    result = CLI.invoke(app, ["services", "list", "--json", "--state", str(tmp_path / "state")])

    (billing,) = json.loads(result.output)
    assert (billing["client"], billing["running_stack_knows_it"]) == ("billing", False)


@pytest.mark.parametrize(
    ("known", "said"), [(False, "knows no service billing"), (True, "does not run")]
)
def test_a_service_runs_on_a_stack_that_runs(tmp_path: Path, known: bool, said: str) -> None:  # noqa: FBT001 - a row of the table
    new(tmp_path, "billing")
    if known:
        add(tmp_path / "billing", tmp_path / "state")

    result = CLI.invoke(app, ["services", "run", "billing", "--state", str(tmp_path / "state")])

    assert isinstance(result.exception, StartError)
    assert said in str(result.exception)


def test_the_wheel_brings_the_templates(tmp_path: Path) -> None:
    built = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stderr

    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    templates = ROOT / "services" / "templates"
    wanted = {str(path.relative_to(ROOT)) for path in templates.rglob("*.tmpl")}
    assert len(wanted) == 16
    assert wanted <= inside
    assert {f"{package}/py.typed" for package in ("auth", "messaging", "services")} <= inside
