"""`carnet broker-keys`: the issuer's public keys as RabbitMQ reads them."""

import stat
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from auth.publickey import read_verification_key
from services.authority import Authority
from services.cli import trust
from services.cli.broker_keys import broker_keys
from services.errors import StartError
from services.local.token_login import TokenLogin
from services.local.trust import make_local_trust
from services.settings import BROKER_RESOURCE

app = typer.Typer()
app.command()(broker_keys)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    make_local_trust(tmp_path / "state")
    return tmp_path / "state"


def run(folder: Path, state: Path, *more: str) -> Result:
    return CliRunner().invoke(app, [str(folder), "--state", str(state), *more])


def test_every_key_that_signs_or_will_is_written(tmp_path: Path, state: Path) -> None:
    result = run(tmp_path / "keys", state, "--at", "/etc/rabbitmq", "--resource", "my-broker")

    assert result.exit_code == 0, result.output
    listed = Authority(state).current(now=time.time()).issuer_keys
    written = {path.stem: path for path in (tmp_path / "keys").glob("*.pem")}
    assert written.keys() == listed.keys()
    configuration = (tmp_path / "keys" / "carnet-oauth2.conf").read_text().splitlines()
    assert "auth_oauth2.resource_server_id = my-broker" in configuration
    assert "auth_oauth2.algorithms.1 = ES256" in configuration
    for kid, path in written.items():
        assert read_verification_key(path) == listed[kid].key
        assert f"auth_oauth2.signing_keys.{kid} = /etc/rabbitmq/{kid}.pem" in configuration
        assert f"rabbitmqctl add_uaa_key {kid} --pem-file=/etc/rabbitmq/{kid}.pem" in result.output


def test_a_retired_key_is_until_it_may_sign_no_more(tmp_path: Path, state: Path) -> None:
    before = Authority(state).current(now=time.time())
    (retired,) = [kid for kid, key in before.issuer_keys.items() if key.state == "active"]
    rotated = CliRunner().invoke(trust.app, ["rotate", "issuer", "--state", str(state)])
    assert rotated.exit_code == 0, rotated.output

    run(tmp_path / "keys", state)

    after = Authority(state).current(now=time.time())
    ends = after.issuer_keys[retired].retired_at
    assert ends is not None
    assert (tmp_path / "keys" / f"{retired}.pem").exists()
    assert retired not in TokenLogin.of(after, BROKER_RESOURCE, now=ends + 1).keys


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, state: Path) -> None:
    (tmp_path / "file").touch(mode=stat.S_IRUSR)

    result = run(tmp_path / "file" / "keys", state)

    assert isinstance(result.exception, StartError)
    assert str(tmp_path / "file") in str(result.exception)
