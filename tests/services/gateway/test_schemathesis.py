"""Requests made up from the OpenAPI document: no answer is a 5xx, and each is a documented one."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.services.gateway.stack import Stack

COMMAND = Path(sys.executable).with_name("schemathesis")
PATIENCE = 100
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
NEVER = ["orderEvents", "journeys", "signOut"]
"""Two do not end, the third one ends the session that all are made with."""
OF_CLIENTS = ["token", "revoke", "deviceAuthorization"]
"""These authenticate in the form: with a token in the header they read no further."""

OF_BROWSERS = ["authorize", "authorizeSignIn", "device", "deviceSignIn"]


def only(*operations: str) -> list[str]:
    return [part for each in operations for part in ("--include-operation-id", each)]


def without(*operations: str) -> list[str]:
    return [part for each in operations for part in ("--exclude-operation-id", each)]


async def schemathesis(stack: Stack, folder: Path, *arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "run", f"{stack.url}/openapi.json", "--checks", ",".join(CHECKS)),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "6", "--seed", "1"),
        *("--generation-database", "none", "--request-timeout", "20", "--no-color", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


@pytest.mark.parametrize(
    ("signed_in", "operations"),
    [
        (True, without(*NEVER, *OF_CLIENTS, *OF_BROWSERS)),
        (False, only(*OF_CLIENTS, "introspect")),
        (False, only(*OF_BROWSERS)),
    ],
    ids=["as an operator", "as a stranger", "as a browser"],
)
async def test_no_request_is_answered_by_what_is_not_documented(
    stack: Stack,
    tmp_path: Path,
    signed_in: bool,  # noqa: FBT001 - a column of a table
    operations: list[str],
) -> None:
    async with stack.operator() as operator:
        bearer = ["-H", f"Authorization: {operator.http.headers['Authorization']}"]

        code, output = await schemathesis(
            stack, tmp_path, *operations, *(bearer if signed_in else [])
        )

    made = re.search(r"(\d+) generated, \1 passed", output)
    assert code == 0, output
    assert made is not None, output
    assert int(made.group(1)) >= 80
