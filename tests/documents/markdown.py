"""What a document in Markdown has: its blocks of code, its links, and the anchors in it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT: Final = Path(__file__).parent.parent.parent
DOCUMENTS: Final = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")]
)

NOT_RUN: Final = re.compile(r"<!-- not run: (?P<reason>.{10,}?) -->", re.DOTALL)
"""Stands right before a block that a test cannot run or parse, and says why."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code.

    line: where it begins, from 1.
    part: what stands behind the language: a file's name, say, which the block is a part of, so
    that it is tried with that file.
    skipped: the reason why it is not tried, if there is one.
    """

    document: Path
    line: int
    language: str
    part: str
    text: str
    skipped: str | None

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


@cache
def tokens(document: Path) -> tuple[Token, ...]:
    text = document.read_text(encoding="utf-8")
    return tuple(MarkdownIt("commonmark").enable("table").parse(text))


def blocks(document: Path) -> Iterator[Block]:
    """Those between fences, with what is said right before each."""
    before = ""
    for token in tokens(document):
        if token.type == "fence":
            told = NOT_RUN.fullmatch(before.strip())
            language, _, part = token.info.strip().partition(" ")
            yield Block(
                document,
                (token.map or [0])[0] + 1,
                language,
                part,
                token.content,
                None if told is None else told["reason"],
            )
        before = token.content if token.type == "html_block" else ""


def links(document: Path) -> Iterator[str]:
    """Where its links and images lead."""
    for token in tokens(document):
        for inner in token.children or ():
            target = inner.attrs.get("href") or inner.attrs.get("src")
            if isinstance(target, str):
                yield target


def code_spans(document: Path) -> Iterator[str]:
    """What stands as code within a sentence."""
    for token in tokens(document):
        yield from (each.content for each in token.children or () if each.type == "code_inline")


@cache
def anchors(document: Path) -> frozenset[str]:
    """The anchors of its headings, as GitHub makes them; a second of one name has `-1`."""
    found: list[str] = []
    inline = iter(tokens(document))
    for token in inline:
        if token.type == "heading_open":
            text = "".join(each.content for each in next(inline).children or ())
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            seen = sum(1 for each in found if each == slug)
            found.append(slug)
            if seen:
                found.append(f"{slug}-{seen}")
    return frozenset(found)
