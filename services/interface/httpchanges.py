"""Whether a new version of the HTTP API breaks clients of an old one. Judged is OpenAPI."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.interface.changes import Break, Document, differences

CLIENTS: Final = ("HTTP clients",)
_SUCCESS: Final = "2"


def http_breaks(old: Document, new: Document) -> list[Break]:
    """All that `new` breaks of what `old` promised.

    What an operation answers in case of success may only become narrower. Further codes of
    refusals may come: clients must cope with those of their class.
    """
    return list(_operations(old, new))


def _operations(old: Document, new: Document) -> Iterator[Break]:
    for path, operations in old["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            after = new["paths"].get(path, {}).get(method)
            reasons = (
                ["the operation is removed"]
                if after is None
                else _reasons((old, operation), (new, after))
            )
            for why in reasons:
                yield Break(CLIENTS, name, why)


_Part = tuple[Document, Mapping[str, Any]]
"""A part of a document, with the document that its references point into."""


def _reasons(old: _Part, new: _Part) -> Iterator[str]:
    yield from _security(old[1].get("security", []), new[1].get("security", []))
    yield from _parameters(old, new)
    before, after = old[1].get("requestBody"), new[1].get("requestBody")
    if after is not None and after.get("required") and not (before or {}).get("required"):
        yield "a body is required now"
    if before is not None:
        content = {} if after is None else after["content"]
        yield from _contents((old[0], before["content"]), (new[0], content), "body", reads=True)
    for status, answer in old[1]["responses"].items():
        if status.startswith(_SUCCESS):
            yield from _answer(status, (old[0], answer), (new[0], new[1]["responses"]))


def _security(old: list[dict[str, list[str]]], new: list[dict[str, list[str]]]) -> Iterator[str]:
    """One way in is enough; each that there was must still be one."""
    for way in old or [{}]:
        if not any(_opens(way, wanted) for wanted in new or [{}]):
            said = ", ".join(f"{name} ({' '.join(scopes)})" for name, scopes in way.items())
            yield f"it is not enough any more to come with: {said or 'nothing'}"


def _opens(way: dict[str, list[str]], wanted: dict[str, list[str]]) -> bool:
    return all(name in way and {*scopes} <= {*way[name]} for name, scopes in wanted.items())


def _parameters(old: _Part, new: _Part) -> Iterator[str]:
    before, after = (
        {(each["in"], each["name"]): each for each in part[1].get("parameters", [])}
        for part in (old, new)
    )
    for key, parameter in after.items():
        if parameter.get("required") and not before.get(key, {}).get("required"):
            yield f"{key[0]} parameter {key[1]} is required now"
    for key, parameter in before.items():
        if key not in after:
            yield f"{key[0]} parameter {key[1]} is removed"
            continue
        pair = (parameter["schema"], after[key]["schema"])
        for why in differences(old[0], new[0], *pair, reads=True):
            yield f"{key[0]} parameter {key[1]}: {why}"


def _answer(status: str, old: _Part, new: _Part) -> Iterator[str]:
    if status not in new[1]:
        yield f"{status} is answered no more"
        return
    before, after = old[1].get("content", {}), new[1][status].get("content", {})
    yield from _contents((old[0], before), (new[0], after), f"answer {status}", reads=False)


def _contents(old: _Part, new: _Part, what: str, *, reads: bool) -> Iterator[str]:
    for media_type, content in old[1].items():
        if media_type not in new[1]:
            yield f"{what}: {media_type} is removed"
            continue
        pair = (content.get("schema", {}), new[1][media_type].get("schema", {}))
        for why in differences(old[0], new[0], *pair, reads=reads):
            yield f"{what}: {why}"
