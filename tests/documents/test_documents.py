"""What the documents show works: code runs, commands exist, links lead somewhere."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from tests.command_lines import carnet_commands, fault
from tests.documents.markdown import (
    DOCUMENTS,
    ROOT,
    Block,
    anchors,
    blocks,
    code_spans,
    links,
)

BLOCKS: Final = [block for document in DOCUMENTS for block in blocks(document)]
TRIED: Final = [block for block in BLOCKS if block.skipped is None]

SHELL: Final = {"", "sh", "bash", "console", "shell"}
DIAGRAMS: Final = ("sequenceDiagram", "flowchart", "stateDiagram-v2", "classDiagram", "erDiagram")
WITHIN: Final = 60.0


def _of(*languages: str) -> list[Block]:
    return [block for block in TRIED if block.language in languages]


def _named(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("block", [*_of("python"), None], ids=str)
def test_python_runs(block: Block | None, tmp_path: Path) -> None:
    """Each block by itself, in an empty folder; what is a part of a file at least compiles.

    None: there need not be any.
    """
    if block is None:
        return
    compile(block.text, str(block), "exec")
    if block.part:
        return
    ran = subprocess.run(  # noqa: S603 - our own document
        [sys.executable, "-c", block.text],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN,
    )

    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("block", _of("json", "yaml", "yml"), ids=str)
def test_data_can_be_read(block: Block) -> None:
    if block.language == "json":
        json.loads(block.text)
    else:
        assert list(yaml.safe_load_all(block.text))


@pytest.mark.parametrize("block", _of("mermaid"), ids=str)
def test_a_diagram_says_of_which_kind_it_is(block: Block) -> None:
    assert block.text.lstrip().startswith(DIAGRAMS)


@pytest.mark.parametrize("block", _of("sh", "bash"), ids=str)
def test_shell_is_shell(block: Block) -> None:
    checked = subprocess.run(
        ["bash", "-n"],  # noqa: S607 - whichever bash there is
        input=block.text,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=_named)
def test_each_carnet_command_is_one(document: Path) -> None:
    """In a block of shell: the command, its options and their values."""
    for block in (each for each in TRIED if each.document == document):
        if block.language in SHELL:
            for line in _lines(block.text):
                faults = [fault(arguments) for arguments in _commands(line)]
                assert not any(faults), f"{block}: {line}: {faults}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_named)
def test_each_carnet_command_in_a_sentence_is_one(document: Path) -> None:
    """Within a sentence: that there is the command; it need not be whole."""
    for span in code_spans(document):
        if re.fullmatch(r"carnet( [a-z][a-z-]*)+", span):
            said = fault(span.split()[1:]) or ""
            assert "has no command" not in said, f"{span}: {said}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_named)
def test_each_word_for_make_is_one(document: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = [
        line for block in blocks(document) if block.language in SHELL for line in _lines(block.text)
    ]

    for line in [*shown, *code_spans(document)]:
        if (asked := re.match(r"make ([a-z-]+)\b(?![|.])", line)) is not None:
            assert asked[1] in targets, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=_named)
def test_each_link_within_leads_somewhere(document: Path) -> None:
    for link in links(document):
        url = urlsplit(link)
        if url.scheme or url.netloc:
            continue
        target = (document.parent / unquote(url.path)).resolve() if url.path else document
        assert target.exists(), link
        if url.fragment and target.suffix == ".md":
            assert unquote(url.fragment) in anchors(target), link


def test_each_document_is_reached_from_the_index() -> None:
    reached = {ROOT / "docs" / "index.md"}
    found = list(reached)
    while found:
        document = found.pop()
        for link in links(document):
            target = (document.parent / urlsplit(link).path).resolve()
            if target.suffix == ".md" and target.exists() and target not in reached:
                reached.add(target)
                found.append(target)

    missing = [_named(each) for each in (ROOT / "docs").glob("*.md") if each not in reached]
    assert not missing


def test_only_what_would_be_tried_is_marked() -> None:
    """A marker before anything else says what is not so."""
    tried = {*SHELL, "python", "json", "yaml", "yml", "mermaid"}

    assert [str(each) for each in BLOCKS if each.skipped and each.language not in tried] == []


def _lines(text: str) -> Iterator[str]:
    yield from text.replace("\\\n", " ").splitlines()


def _commands(line: str) -> list[list[str]]:
    try:
        return list(carnet_commands(line)) if "carnet" in line else []
    except ValueError:  # a quotation that goes on in the next line, which no command of ours has
        return []
