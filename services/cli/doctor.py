"""`carnet doctor`: every start-up check and more, at any time; it says what to do."""

import asyncio
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import Field, SecretStr
from rich.console import Console
from rich.text import Text

from messaging.findings import Verdict
from services.cli.answer import Json, print_json
from services.cli.migrate import Service
from services.doctor.examination import examine_one, examine_stack
from services.doctor.kinds import KINDS
from services.doctor.report import Report
from services.operations.places import OPERATOR_URL, STATE_FOLDER
from services.settings import KEY_OPENER, Settings, read_settings

_STYLES: Final = {
    Verdict.OK: "green",
    Verdict.SKIP: "dim",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
}
_SHOWN: Final = {each: each.value for each in Verdict} | {Verdict.FAIL: "FAIL"}


class DoctorSettings(Settings):
    """What `carnet doctor` reads from the environment, beside a service's own settings."""

    state: Path = Field(default=Path(".carnet"), description=STATE_FOLDER)
    operator_url: SecretStr | None = Field(default=None, description=OPERATOR_URL)
    management_url: SecretStr | None = Field(
        default=None,
        description="The broker's management API, http://name:password@host:15672, of an "
        "administrator: bindings and policies",
    )
    key_passphrase: SecretStr | None = Field(default=None, description=KEY_OPENER)


def doctor(
    service: Annotated[
        Service | None,
        typer.Argument(help="A service that the environment (CARNET_…) sets up; else the stack."),
    ] = None,
    *,
    state: Annotated[
        Path | None, typer.Option(help="The stack's state folder  [CARNET_STATE, or .carnet]")
    ] = None,
    json_output: Json = False,
) -> None:
    """Check everything and say what to do; exit code 1 if anything is in the way.

    Looks at settings, keys, statement, databases, broker, queues and the trust feed, of all
    services of the local stack or of one service. Changes nothing, and needs nothing to run.

    CARNET_OPERATOR_URL: AMQP URL of a login that may see all of the broker (the local stack has
    one of its own). CARNET_MANAGEMENT_URL: its management API, http://name:password@host:15672.

    Examples:
      carnet doctor
      carnet doctor orders --json
      docker compose exec orders carnet doctor orders
    """
    settings = read_settings(DoctorSettings)
    management = _secret(settings.management_url)
    if service is None:
        folder, passphrase = state or settings.state, _secret(settings.key_passphrase)
        examination = examine_stack(
            folder, passphrase=passphrase, management=management, clock=time.time
        )
    else:
        examination = examine_one(
            KINDS[service.value],
            operator=_secret(settings.operator_url),
            management=management,
            clock=time.time,
        )
    reports = asyncio.run(examination)
    counts = Counter(finding.verdict for report in reports for finding in report.findings)
    if json_output:
        _print_json(reports, counts)
    else:
        _print(reports, counts)
    if counts[Verdict.FAIL]:
        raise typer.Exit(1)


def _print(reports: list[Report], counts: Counter[Verdict]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for report in reports:
        for finding in report.findings:
            console.print(
                f"{report.subject:8}",
                Text(f"{_SHOWN[finding.verdict]:4}", style=_STYLES[finding.verdict]),
                Text(f"{finding.check:18}"),
                Text(finding.detail),
            )
    console.print(
        f"{counts[Verdict.FAIL]} in the way, {counts[Verdict.WARN]} doubtful, "
        f"{counts[Verdict.OK]} in order, {counts[Verdict.SKIP]} not looked at"
    )


def _print_json(reports: list[Report], counts: Counter[Verdict]) -> None:
    findings = [
        {"subject": report.subject, **asdict(finding)}
        for report in reports
        for finding in report.findings
    ]
    print_json({"ok": not counts[Verdict.FAIL], "findings": findings})


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
