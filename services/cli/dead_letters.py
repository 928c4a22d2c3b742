"""`carnet dead-letters`: what was refused and why; released, discarded or taken out."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import typer
from pydantic import SecretStr
from rich.console import Console

from auth.errors import CHECK_OF
from auth.release import LIFTS, Lift
from messaging.deadletters import Reading
from messaging.errors import MessagingError
from messaging.letters import Letter
from services.cli.accounts import read_password
from services.cli.answer import Json, answer, print_json, say
from services.cli.letters import print_letter, table_of
from services.cli.progress import bar
from services.contracts.topology import ORDERS_COMMANDS
from services.errors import StartError
from services.failure import KNOWN_ERRORS
from services.operations import bulk
from services.operations.desk import Desk
from services.operations.letters import Filter, Fold, details_of, export_line
from services.operations.seat import Operator, connected, open_desk, read_desk_settings
from services.operations.settling import Settle, discarding, releasing
from services.operations.verdicts import PLACES, Judge, place_of

app: Final = typer.Typer(
    help="What was refused, and why: look at it, release it, discard it, take it out.",
    no_args_is_help=True,
)

T = TypeVar("T")

Queue: TypeAlias = Annotated[
    str,
    typer.Option(
        "--queue", help="Work queue whose dead letters.", autocompletion=lambda: list(PLACES)
    ),
]
Ids: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="[MESSAGE]...", help="Ids, as list shows them.")
]
Reasons: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--reason",
        help="Code of the refusal; repeatable.",
        autocompletion=lambda: sorted(CHECK_OF),
    ),
]
Services: TypeAlias = Annotated[
    list[str] | None, typer.Option("--service", help="Client that sealed it; repeatable.")
]
Users: TypeAlias = Annotated[
    list[str] | None, typer.Option("--user", help="Subject that it is for; repeatable.")
]
Since: TypeAlias = Annotated[
    datetime | None, typer.Option(help="Set aside from this time on, UTC.")
]
Until: TypeAlias = Annotated[datetime | None, typer.Option(help="Set aside before this, UTC.")]
Search: TypeAlias = Annotated[str, typer.Option(help="Part of id, type, user or reason.")]
OperatorName: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="CARNET_OPERATOR", help="Your account, which has the scope dead-letters:release."
    ),
]
PasswordFile: TypeAlias = Annotated[
    typer.FileText | None,
    typer.Option(help="File with your password, - for standard input; without it, it is asked."),
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="Every letter, with no filter.")]


@app.command(name="list")
def list_letters(
    *,
    reason: Reasons = None,
    service: Services = None,
    user: Users = None,
    since: Since = None,
    until: Until = None,
    search: Search = "",
    limit: Annotated[int, typer.Option(min=0, help="Lines at most; 0 for all.")] = 100,
    queue: Queue = ORDERS_COMMANDS.name,
    json_output: Json = False,
) -> None:
    """List them, the oldest first; copies of one message are one line.

    Looking takes none away and changes nothing of their order.

    Examples:
      carnet dead-letters list
      carnet dead-letters list --reason revoked --since 2026-01-31
      carnet dead-letters list --search orders.cancel
      carnet dead-letters list --limit 0 --json
    """
    wanted = replace(
        _filter(None, reasons=reason, services=service, users=user, since=since, until=until),
        search=search,
    )
    fold = Fold()
    _look(queue, wanted, fold.add)
    lines = list(fold)
    if json_output:
        print_json([line.as_json() for line in lines])
        return
    shown = lines if limit == 0 else lines[:limit]
    Console().print(table_of(shown))
    more = f"; {len(lines) - len(shown)} not shown, see --limit" if len(lines) > len(shown) else ""
    say(f"{len(lines)} dead letters{more}")


@app.command()
def show(
    message: Annotated[str, typer.Argument(help="Its id, as list shows it.")],
    *,
    queue: Queue = ORDERS_COMMANDS.name,
    json_output: Json = False,
) -> None:
    """Explain one: its claims, each check with its verdict, and what it says. Never a raw token.

    Examples:
      carnet dead-letters show 0b4f5c1e-7f0a-4c0e-9d0e-2f6f0f5b8a11
      carnet dead-letters show 0b4f5c1e-7f0a-4c0e-9d0e-2f6f0f5b8a11 --json
    """
    found: dict[str, Letter] = {}
    _look(queue, Filter(ids=frozenset({message})), lambda letter: _keep(found, letter))
    if not found:
        raise StartError(f"there is no dead letter {message}; see: carnet dead-letters list")
    judge = Judge(place_of(queue), read_desk_settings().read_key_set())
    now = time.time()
    explained = [(letter, judge.steps(letter, now=now)) for letter in found.values()]
    if json_output:
        told = [
            details_of(letter) | {"checks": [step.as_json() for step in steps]}
            for letter, steps in explained
        ]
        print_json(told)
        return
    for letter, steps in explained:
        print_letter(letter, steps, now=now)


@app.command()
def release(
    messages: Ids = None,
    *,
    operator: OperatorName,
    password_file: PasswordFile = None,
    reason: Reasons = None,
    service: Services = None,
    user: Users = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    lift_revocation: Annotated[
        bool, typer.Option(help="Also where its user's session or access was ended since.")
    ] = False,
    queue: Queue = ORDERS_COMMANDS.name,
    json_output: Json = False,
) -> None:
    """Have them taken after all, as they were sent, whatever their age and their carnet's expiry.

    The issuer verifies each one again and states it in your name; the audit log has it.

    One that was never genuine, or whose user is revoked, stays.

    Each has its effect once, also where this is broken off and repeated.

    Examples:
      carnet dead-letters release --operator grace 0b4f5c1e-7f0a-4c0e-9d0e-2f6f0f5b8a11
      carnet dead-letters release --operator grace --reason expired --since 2026-01-31T12:00:00
      carnet dead-letters release --operator grace --all --password-file grace.password
    """
    wanted = _picked(
        _filter(messages, reasons=reason, services=service, users=user, since=since, until=until),
        everything=everything,
    )
    place = place_of(queue)
    lift: tuple[Lift, ...] = LIFTS if lift_revocation else ("age", "expiry")
    tally = _in_bulk(
        "released",
        queue,
        wanted,
        _operator(operator, password_file),
        lambda desk: releasing(desk, place, lift),
    )
    _tell("released", tally, as_json=json_output)


@app.command()
def discard(
    messages: Ids = None,
    *,
    operator: OperatorName,
    password_file: PasswordFile = None,
    reason: Reasons = None,
    service: Services = None,
    user: Users = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    queue: Queue = ORDERS_COMMANDS.name,
    json_output: Json = False,
) -> None:
    """Remove them. Each is in the audit log; a genuine one is never handled any more.

    Examples:
      carnet dead-letters discard --operator grace 0b4f5c1e-7f0a-4c0e-9d0e-2f6f0f5b8a11
      carnet dead-letters discard --operator grace --reason unknown_key --until 2026-01-31
    """
    wanted = _picked(
        _filter(messages, reasons=reason, services=service, users=user, since=since, until=until),
        everything=everything,
    )
    place = place_of(queue)
    judge = Judge(place, read_desk_settings().read_key_set())
    tally = _in_bulk(
        "discarded",
        queue,
        wanted,
        _operator(operator, password_file),
        lambda desk: discarding(desk, place, judge),
    )
    _tell("discarded", tally, as_json=json_output)


@app.command()
def export(
    *,
    reason: Reasons = None,
    service: Services = None,
    user: Users = None,
    since: Since = None,
    until: Until = None,
    queue: Queue = ORDERS_COMMANDS.name,
) -> None:
    """Write them to standard output as JSON, one a line: claims and bodies, never a raw token.

    Examples:
      carnet dead-letters export > letters.jsonl
      carnet dead-letters export --user 0b4f5c1e-7f0a-4c0e-9d0e-2f6f0f5b8a11 > letters.jsonl
    """
    wanted = _filter(None, reasons=reason, services=service, users=user, since=since, until=until)
    # A bar would stand among the lines.
    beside = sys.stdout.isatty()
    _look(queue, wanted, lambda letter: _write(export_line(letter)), silent=beside)


def _look(
    queue: str, wanted: Filter, see: Callable[[Letter], None], *, silent: bool = False
) -> None:
    place = place_of(queue)
    settings = read_desk_settings()

    async def look() -> None:
        async with (
            connected(settings) as broker,
            Reading(broker.consuming, place.queue.dead) as reading,
        ):
            task = shown.add_task("reading", total=reading.total)
            async for held in reading.letters():
                shown.advance(task)
                if wanted.fits(held.letter):
                    see(held.letter)

    with bar(silent=silent) as shown:
        asyncio.run(look())


def _in_bulk(
    what: str,
    queue: str,
    wanted: Filter,
    operator: Operator,
    begin: Callable[[Desk], Settle],
) -> bulk.Tally:
    place = place_of(queue)
    settings = read_desk_settings()

    async def work() -> bulk.Tally:
        async with (
            connected(settings) as broker,
            open_desk(settings, broker, operator) as desk,
            Reading(broker.consuming, place.queue.dead) as reading,
        ):
            with bar() as shown:
                task = shown.add_task(what, total=reading.total)
                return await bulk.each(
                    reading.letters(), wanted.fits, begin(desk), seen=lambda: shown.advance(task)
                )

    return _run(work)


def _tell(what: str, tally: bulk.Tally, *, as_json: bool) -> None:
    """What became of them; exit code 1 if any stayed."""
    left = sum(tally.refused.values())
    codes = ", ".join(f"{count} {code}" for code, count in sorted(tally.refused.items()))
    lines = [f"not {what}: {name}: {why}" for name, why in tally.refusals]
    lines.append(f"{what} {tally.done}" + (f"; {left} stay: {codes}" if left else ""))
    refusals = [{"id": name, "why": why} for name, why in tally.refusals]
    answer(
        "\n".join(lines),
        {what: tally.done, "stay": dict(sorted(tally.refused.items())), "refusals": refusals},
        as_json=as_json,
    )
    if left:
        raise typer.Exit(1)


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it; of several faults at once, the first is told.

    Raises:
        StartError: broken off; the same again goes on where it stopped.
    """
    try:
        return asyncio.run(work())
    except* KNOWN_ERRORS as faults:
        fault: BaseException = faults
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    if not isinstance(fault, MessagingError):
        raise fault
    raise StartError(
        f"{fault.detail}; what was not done is still there: the same command goes on with it"
    ) from fault


def _filter(
    ids: list[str] | None,
    *,
    reasons: list[str] | None,
    services: list[str] | None,
    users: list[str] | None,
    since: datetime | None,
    until: datetime | None,
) -> Filter:
    return Filter(
        ids=frozenset(ids or ()),
        reasons=frozenset(reasons or ()),
        services=frozenset(services or ()),
        users=frozenset(users or ()),
        since=None if since is None else since.replace(tzinfo=UTC).timestamp(),
        until=None if until is None else until.replace(tzinfo=UTC).timestamp(),
    )


def _picked(wanted: Filter, *, everything: bool) -> Filter:
    if wanted.empty != everything:
        raise typer.BadParameter("name messages, or a filter; or --all, with neither")
    return wanted


def _operator(name: str, password_file: typer.FileText | None) -> Operator:
    return Operator(name, SecretStr(read_password(password_file, twice=False)))


def _keep(found: dict[str, Letter], letter: Letter) -> None:
    found[letter.digest] = letter


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
