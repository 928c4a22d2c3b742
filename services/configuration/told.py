"""What was set: each value with where it comes from, secrets left out, and what is wrong."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import InitSettingsSource

from services.configuration.catalogue import in_words, is_secret, variable_of
from services.settings import PREFIX, Problem, Settings, explain

HIDDEN: Final = "***"

_FILE: Final = "_FILE"


class Origin(StrEnum):
    """Where a value comes from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FILE = "file"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Told:
    """One setting as it was found.

    value: as it would be written, a secret without what is secret; None where there is none.
    file: its path, for a value out of a file.   problem: what is wrong with it.
    """

    variable: str
    value: str | None
    origin: Origin
    secret: bool
    file: str | None = None
    problem: Problem | None = None

    def as_json(self) -> dict[str, object]:
        return {
            "variable": self.variable,
            "value": self.value,
            "from": self.origin.value,
            "file": self.file,
            "secret": self.secret,
            "problem": None if self.problem is None else self.problem.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Examined:
    """All that was found.

    problems: also those that are of no one setting.   doubts: what can hardly be meant.
    """

    settings: list[Told]
    problems: list[Problem]
    doubts: list[str]


def examine(kind: type[Settings], *, known: frozenset[str]) -> Examined:
    """Read the settings of this kind from the environment, whatever is wrong with them.

    known: every variable that anybody reads; others that begin alike are slips of the pen.
    """
    given, problems = _read_all(kind)
    settings: Settings | None = None
    try:
        # Only what was read above: a file that cannot be read is told already.
        values = {name: value for name, (value, _, _) in given.items()}
        source = InitSettingsSource(kind, init_kwargs=values)
        settings = kind(_build_sources=((source,), values))
    except ValidationError as error:
        unread = {problem.variable for problem in problems}
        problems += [each for each in explain(error) if each.variable not in unread]
    by_variable = {problem.variable: problem for problem in problems}
    told = [
        _tell(name, field, given, settings, by_variable.get(variable_of(name)))
        for name, field in kind.model_fields.items()
    ]
    doubts = [*_twice(kind), *_unknown(known)]
    if settings is not None:
        doubts += settings.doubts()
    return Examined(told, problems, doubts)


def redacted(value: str) -> str:
    """A secret as it may be shown: of URLs what is around the password, of all else nothing.

    Where it is not quite clear what in it is the password, nothing is shown.
    """
    urls = [_redacted_url(each) for each in re.split(r"[\s,]+", value) if each]
    whole = [url for url in urls if url is not None]
    # A part without a login beside one with: it may be the beginning of a password.
    if not whole or len(whole) < len(urls) or len({"@" in url for url in whole}) > 1:
        return HIDDEN
    return ", ".join(whole)


def _redacted_url(text: str) -> str | None:
    """`scheme://name:***@host/path`, without query and fragment; None where it is no such URL."""
    try:
        url = urlsplit(text)
        _ = url.port  # raises where it is no number
    except ValueError:
        return None
    if not url.scheme or "://" not in text or text.count("@") != url.netloc.count("@"):
        return None
    login, at, place = url.netloc.rpartition("@")
    if "@" in login:
        return None
    name, colon, _ = login.partition(":")
    return f"{url.scheme}://{name}{':' + HIDDEN if colon else ''}{at}{place}{url.path}"


_Given = Mapping[str, tuple[str, Origin, str | None]]


def _read_all(kind: type[Settings]) -> tuple[_Given, list[Problem]]:
    """Value, origin and file of each field that is set, and which files cannot be read."""
    # As the library has it: names of variables are of no case.
    environment = {name.upper(): value for name, value in os.environ.items()}
    given: dict[str, tuple[str, Origin, str | None]] = {}
    problems = []
    for name in kind.model_fields:
        variable = variable_of(name)
        path = os.environ.get(f"{variable}{_FILE}")
        if variable in environment:
            given[name] = environment[variable], Origin.ENVIRONMENT, None
        elif path is not None:
            try:
                value = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                detail = f"{variable}{_FILE}: cannot read {path}: {error}"
                problems.append(Problem(variable, "unreadable", detail))
            else:
                given[name] = value, Origin.FILE, path
    return given, problems


def _tell(
    name: str, field: FieldInfo, given: _Given, settings: Settings | None, problem: Problem | None
) -> Told:
    variable, secret = variable_of(name), is_secret(field)
    raw, origin, file = given.get(name, (None, Origin.DEFAULT, None))
    if raw is None and field.is_required():
        origin = Origin.MISSING
    if raw is None and problem is not None and problem.code == "unreadable":
        origin, file = Origin.FILE, os.environ.get(f"{variable}{_FILE}")
    value = raw
    if settings is not None:
        found = getattr(settings, name)
        value = found.get_secret_value() if isinstance(found, SecretStr) else in_words(found)
        value = None if found is None else value
    elif raw is None and origin is Origin.DEFAULT:
        default = field.get_default(call_default_factory=True, validated_data={})
        value = None if default is None else in_words(default)
    if value is not None and (secret or "://" in value):
        value = redacted(value)
    return Told(variable, value, origin, secret, file, problem)


def _twice(kind: type[Settings]) -> Iterator[str]:
    for variable in map(variable_of, kind.model_fields):
        if variable in os.environ and f"{variable}{_FILE}" in os.environ:
            yield f"{variable} and {variable}{_FILE} are both set, and the first counts; unset one"


def _unknown(known: frozenset[str]) -> Iterator[str]:
    """Variables that nobody reads: a name that was mistyped is else never noticed."""
    for variable in sorted(os.environ):
        base = variable.removesuffix(_FILE)
        if variable.startswith(PREFIX) and variable not in known and base not in known:
            near = get_close_matches(base, known, n=1)
            meant = f"; do you mean {near[0]}?" if near else "; unset it"
            yield f"{variable}: nobody reads it{meant}"
