"""Whether all that one JSON Schema allows, another allows too; and where not, what is in the way.

Made for the schemas that pydantic writes. Where it cannot tell (two patterns, two conditions) it
says that they differ: a false alarm costs a look, a missed one a broken client.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Schema = Mapping[str, Any]
Node = Schema | bool
"""`true` allows everything, `false` nothing."""

_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_SAME: Final = (
    "pattern",
    "format",
    "multipleOf",
    "uniqueItems",
    "prefixItems",
    "patternProperties",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "allOf",
)
"""Keywords that are compared as they stand: the narrower schema must have the very same."""
_TYPES: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why something that `narrow` allows, `wide` does not.

    path: of the member, as `lines[].quantity`; empty for the value itself.
    keyword: of JSON Schema, which is in the way.
    wide, narrow: what each says there; None for nothing.
    """

    path: str
    keyword: str
    wide: Any
    narrow: Any


class Subset:
    """Compares schemas of two documents, in which references are looked up."""

    def __init__(self, narrow: Mapping[str, Any], wide: Mapping[str, Any]) -> None:
        """The documents that `#/…` in either schema points into."""
        self._narrow = narrow
        self._wide = wide
        self._under_way: set[tuple[str, str]] = set()

    def obstacles(self, narrow: Schema, wide: Schema, path: str = "") -> list[Obstacle]:
        """All that is in the way of `narrow` being allowed by `wide`; none if it is."""
        return list(self._compare(narrow, wide, path))

    def _compare(self, narrow: Node, wide: Node, path: str) -> Iterator[Obstacle]:
        if isinstance(narrow, bool) or isinstance(wide, bool):
            if narrow is not False and wide is not True and narrow != wide:
                yield Obstacle(path, "type", wide, narrow)
            return
        references = (str(narrow.get("$ref", "")), str(wide.get("$ref", "")))
        if not all(references):
            yield from self._resolved(narrow, wide, path)
        elif references not in self._under_way:  # else a model that holds itself
            self._under_way.add(references)
            yield from self._resolved(narrow, wide, path)
            self._under_way.discard(references)

    def _resolved(self, narrow: Schema, wide: Schema, path: str) -> Iterator[Obstacle]:
        narrow, wide = resolve(narrow, self._narrow), resolve(wide, self._wide)
        yield from self._alternatives(narrow, wide, path)
        if _choices(narrow) or _choices(wide):
            return
        yield from _values(narrow, wide, path)
        yield from _types(narrow, wide, path)
        yield from _bounds(narrow, wide, path)
        yield from _same(narrow, wide, path)
        yield from self._members(narrow, wide, path)
        if "items" in wide:
            yield from self._compare(narrow.get("items", True), wide["items"], f"{path}[]")

    def _alternatives(self, narrow: Schema, wide: Schema, path: str) -> Iterator[Obstacle]:
        """Each of the narrow one's alternatives is allowed by one of the wide one's."""
        if not (_choices(narrow) or _choices(wide)):
            return
        for one in _choices(narrow) or [narrow]:
            tried = [
                self.obstacles(_with(narrow, one), other, path)
                for other in [_with(wide, each) for each in _choices(wide)] or [wide]
            ]
            # What the nearest one lacks says most.
            yield from min(tried, key=lambda found: (_kind_differs(found, path), len(found)))

    def _members(self, narrow: Schema, wide: Schema, path: str) -> Iterator[Obstacle]:
        before, after = narrow.get("properties", {}), wide.get("properties", {})
        for name in sorted({*wide.get("required", ())} - {*narrow.get("required", ())}):
            yield Obstacle(_inner(path, name), "required", True, False)
        closed = wide.get("additionalProperties", True)
        for name, schema in before.items():
            if name in after:
                yield from self._compare(schema, after[name], _inner(path, name))
            elif closed is False:
                yield Obstacle(_inner(path, name), "additionalProperties", False, None)
        if "additionalProperties" in wide and closed is not True:
            yield from self._others(narrow.get("additionalProperties", True), closed, path)

    def _others(self, narrow: Any, wide: Any, path: str) -> Iterator[Obstacle]:
        if wide is False:
            if narrow is not False:
                yield Obstacle(path, "additionalProperties", wide, narrow)
            return
        yield from self._compare(narrow, wide, f"{path}.*" if path else "*")


def resolve(schema: Schema, document: Mapping[str, Any]) -> Schema:
    """The schema that a reference stands for, with what stands beside it."""
    while isinstance(schema.get("$ref"), str):
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        schema = {**found, **{name: value for name, value in schema.items() if name != "$ref"}}
    return schema


def _choices(schema: Schema) -> list[Schema]:
    return list(schema.get("anyOf") or schema.get("oneOf") or [])


def _with(schema: Schema, one: Schema) -> Schema:
    """One alternative, with what holds for all; what both say, it says more closely."""
    common = {name: value for name, value in schema.items() if name not in {"anyOf", "oneOf"}}
    if not any(name in common for name in ("type", "properties", "required")):
        return one
    properties = common.get("properties", {}) | one.get("properties", {})
    required = [*common.get("required", ()), *one.get("required", ())]
    return {**common, **one, "properties": properties, "required": required}


def _kind_differs(found: list[Obstacle], path: str) -> bool:
    return any(each.path == path and each.keyword == "type" for each in found)


def _inner(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _allowed(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _values(narrow: Schema, wide: Schema, path: str) -> Iterator[Obstacle]:
    before, after = _allowed(narrow), _allowed(wide)
    if after is not None and (before is None or any(value not in after for value in before)):
        yield Obstacle(path, "enum", after, before)


def _types(narrow: Schema, wide: Schema, path: str) -> Iterator[Obstacle]:
    if "type" not in wide:
        return
    before, after = _types_of(narrow), _types_of(wide)
    accepted = after | ({"integer"} if "number" in after else set())
    if not before <= accepted and not (_allowed(narrow) is not None and "type" not in narrow):
        yield Obstacle(path, "type", wide["type"], narrow.get("type"))


def _types_of(schema: Schema) -> set[str]:
    types = schema.get("type", sorted(_TYPES))
    return {types} if isinstance(types, str) else set(types)


def _bounds(narrow: Schema, wide: Schema, path: str) -> Iterator[Obstacle]:
    above: Callable[[Any, Any], bool] = lambda mine, theirs: mine is None or mine < theirs  # noqa: E731
    below: Callable[[Any, Any], bool] = lambda mine, theirs: mine is None or mine > theirs  # noqa: E731
    for keywords, outside in ((_LOWER, above), (_UPPER, below)):
        for keyword in keywords:
            if keyword in wide and outside(narrow.get(keyword), wide[keyword]):
                yield Obstacle(path, keyword, wide[keyword], narrow.get(keyword))


def _same(narrow: Schema, wide: Schema, path: str) -> Iterator[Obstacle]:
    for keyword in _SAME:
        if keyword in wide and narrow.get(keyword) != wide[keyword]:
            yield Obstacle(path, keyword, wide[keyword], narrow.get(keyword))
