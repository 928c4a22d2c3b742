"""What can be set: each setting with its variable, default, bounds and meaning.

Nothing here is written down a second time: it is taken from the fields of the settings classes.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr, TypeAdapter
from pydantic.fields import FieldInfo

from services.settings import PREFIX, Settings

Readers = Mapping[str, type[Settings]]
"""Who reads settings, by name: a service, or commands."""

DEFAULT: Final = "default"
"""In a field's `json_schema_extra`: its default in words, where a function finds it."""

REQUIRED: Final = "required"
NONE: Final = "none"

_KINDS: Final[Mapping[Any, str]] = {
    SecretStr: "secret text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    timedelta: "duration",
    Path: "path",
}
_LISTS: Final[Mapping[Any, str]] = {
    int: "list of whole numbers",
    str: "list of texts",
    IPv4Network | IPv6Network: "list of networks",
}
_SIGNS: Final = ((Ge, "ge", "≥"), (Gt, "gt", ">"), (Le, "le", "≤"), (Lt, "lt", "<"))


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as one or more readers have it.

    variable: `CARNET_…`.   default: in words; `required` where there is none.
    values: what it may be.   readers: who reads it.
    from_file: whether `CARNET_…_FILE` may name a file with the value instead.
    """

    variable: str
    default: str
    values: str
    meaning: str
    secret: bool
    readers: tuple[str, ...]
    from_file: bool = True

    def as_json(self) -> dict[str, object]:
        return {
            "variable": self.variable,
            "file_variable": f"{self.variable}_FILE" if self.from_file else None,
            "default": self.default,
            "values": self.values,
            "meaning": self.meaning,
            "secret": self.secret,
            "readers": list(self.readers),
        }


def settings_of(reader: str, kind: type[Settings]) -> Iterator[Setting]:
    """The settings of one reader, in the order in which its class names them."""
    for name, field in kind.model_fields.items():
        yield Setting(
            variable=variable_of(name),
            default=_default(field),
            values=_values(field),
            meaning=field.description or "",
            secret=is_secret(field),
            readers=(reader,),
        )


def merged(settings: Iterable[Setting]) -> list[Setting]:
    """By variable; those that are the same for several readers are one."""
    found: dict[Setting, Setting] = {}
    for setting in settings:
        alike = replace(setting, readers=())
        before = found.get(alike)
        readers = setting.readers if before is None else (*before.readers, *setting.readers)
        found[alike] = replace(setting, readers=tuple(dict.fromkeys(readers)))
    return sorted(found.values(), key=lambda each: each.variable)


def variable_of(name: str) -> str:
    """The environment variable of the field of this name."""
    return f"{PREFIX}{name.upper()}"


def is_secret(field: FieldInfo) -> bool:
    """Whether its value is never shown."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def in_words(value: object) -> str:
    """A value as it would be written in a variable."""
    if value is None or value == ():
        return NONE
    if isinstance(value, tuple):
        return ",".join(str(each) for each in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, timedelta):
        return str(TypeAdapter(timedelta).dump_python(value, mode="json"))
    return str(value)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return _made_by(field.default_factory, field)
    return REQUIRED if field.is_required() else in_words(field.default)


def _made_by(factory: Callable[..., Any], field: FieldInfo) -> str:
    """What the field says of it, else the function's own first line."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and DEFAULT in extra:
        return str(extra[DEFAULT])
    return (inspect.getdoc(factory) or "computed").splitlines()[0].rstrip(".")


def _values(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {in_words(getattr(rule, name))}"
        for kind, name, sign in _SIGNS
        for rule in field.metadata
        if isinstance(rule, kind)
    ]
    limits = [getattr(rule, "max_length", None) for rule in field.metadata]
    longest = [f"≤ {limit} characters" for limit in limits if limit is not None]
    forms = [getattr(rule, "pattern", None) for rule in field.metadata]
    matching = [f"of the form {form}" for form in forms if form is not None]
    return ", ".join([_kind(field.annotation), *bounds, *longest, *matching])


def _kind(annotation: Any) -> str:
    inner = [each for each in get_args(annotation) if each not in (type(None), ...)]
    if get_origin(annotation) is Literal:
        return " or ".join(inner)
    if get_origin(annotation) is tuple:
        return _LISTS[inner[0]]
    if inner:
        return _kind(inner[0])
    return _KINDS.get(annotation, "text")
