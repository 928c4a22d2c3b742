"""The committed documents, `docs/contracts/`: what they must say, and whether they do."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from services.gateway.app import routed_app
from services.interface.asyncapi import asyncapi
from services.interface.messages import messages
from services.interface.schemas import (
    DIALECT,
    TOKENS,
    Schema,
    body_schema,
    claims_schema,
    reply_schema,
    trust_root_schema,
)

FOLDER: Final = Path("docs/contracts")
RELEASED: Final = "released"
"""Folder in it with what the last release said."""

ASYNCAPI: Final = "asyncapi.json"
OPENAPI: Final = "openapi.json"


def openapi() -> Schema:
    """The gateway's HTTP API, as it answers `/openapi.json`."""
    return routed_app().openapi()


def documents() -> dict[str, str]:
    """Every file by its name in the folder, with what it says."""
    found = {ASYNCAPI: asyncapi(), OPENAPI: openapi()}
    for message in messages():
        found[f"schemas/{message.type}.json"] = _named(message.type, body_schema(message))
        if message.kind == "req":
            name = f"{message.type}.reply"
            found[f"schemas/{name}.json"] = _named(name, reply_schema(message))
    for token in TOKENS:
        found[f"claims/{token.name}.json"] = _named(token.name, claims_schema(token))
    found["claims/trust-root.json"] = _named("trust-root", trust_root_schema())
    return {name: _text(found[name]) for name in sorted(found)}


def released_documents() -> dict[str, str]:
    """What a release keeps of them, to be compared with later."""
    now = documents()
    return {f"{RELEASED}/{name}": now[name] for name in (ASYNCAPI, OPENAPI)}


def write(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Write what differs, and remove schemas that nothing has any more; their names.

    Raises:
        OSError: a file cannot be written.
    """
    changed = stale(folder, wanted)
    for name in changed:
        path = folder / name
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name], encoding="utf-8")
        else:
            path.unlink()
    return changed


def stale(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Names of the files that are missing, say something else, or should not be there."""
    differing = [name for name, text in wanted.items() if _read(folder / name) != text]
    kept = {str(Path(name).parent) for name in wanted} - {".", RELEASED}
    left = [
        str(path.relative_to(folder))
        for inner in sorted(kept)
        for path in sorted((folder / inner).glob("*.json"))
        if str(path.relative_to(folder)) not in wanted
    ]
    return sorted({*differing, *left})


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _named(name: str, schema: Schema) -> Schema:
    return {"$schema": DIALECT, "$id": f"urn:carnet:schema:{name}", **schema}


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
