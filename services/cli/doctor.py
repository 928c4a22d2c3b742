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
from services.declared import DECLARED, Declared, read_all_declared
from services.doctor.examination import examine_one, examine_stack
from services.doctor.kinds import KINDS, Kind
from services.doctor.report import Report
from services.errors import StartError
from services.operations.places import DECLARED_FOLDER, OPERATOR_URL, STATE_FOLDER
from services.settings import KEY_OPENER, Settings, read_settings

_STYLES: Final = {
    Verdict.OK: "green",
    Verdict.SKIP: "dim",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
}
_NARROWEST: Final = 8
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
    services: Path | None = Field(default=None, description=DECLARED_FOLDER)

    @property
    def declared(self) -> Declared:
        """Services of one's own: those of the folder that is named, else the local stack's."""
        return read_all_declared(self.services or self.state / DECLARED)


def _kinds() -> dict[str, Kind]:
    """Those that can be examined, by name.

    Raises:
        StartError: a service of one's own is declared wrongly.
    """
    own = map(Kind.own, read_settings(DoctorSettings).declared)
    return {**KINDS, **{kind.name: kind for kind in own}}


def _known(name: str) -> str:
    if name not in (kinds := _kinds()):
        raise typer.BadParameter(f"{name} is none of {', '.join(kinds)}")
    return name


def _beginning(typed: str) -> list[str]:
    try:
        kinds = _kinds()
    except StartError:  # no place to say so
        kinds = KINDS
    return [name for name in kinds if name.startswith(typed)]


def doctor(
    service: Annotated[
        str | None,
        typer.Argument(
            help="A service that the environment (CARNET_…) sets up; else the stack.",
            parser=_known,
            metavar="service",
            autocompletion=_beginning,
        ),
    ] = None,
    *,
    state: Annotated[
        Path | None, typer.Option(help="The stack's state folder  [CARNET_STATE, or .carnet]")
    ] = None,
    json_output: Json = False,
) -> None:
    """Check everything and say what to do; exit code 1 if anything is in the way.

    Looks at settings, keys, statement, databases, broker, queues and the trust feed, of all
    services of the local stack or of one service; a service of one's own, by its client id, where
    CARNET_SERVICES or the stack declares it. Changes nothing, and needs nothing to run.

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
            _kinds()[service],
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
    width = max(_NARROWEST, *(len(report.subject) for report in reports))
    for report in reports:
        for finding in report.findings:
            console.print(
                f"{report.subject:{width}}",
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
