"""What pages are made of: files as they are, nothing inline or from elsewhere, nothing kept."""

import re
from dataclasses import dataclass

import pytest

from services.users.audit import What
from services.web.files import SHARED, page_files


@dataclass(frozen=True)
class Page:
    """A page: its package, and where its files are asked for."""

    package: str
    below: str

    def __str__(self) -> str:
        return self.package

    @property
    def texts(self) -> dict[str, str]:
        """All its files, with those that every page has."""
        return {
            name: file.content.decode() for name, file in page_files(SHARED, self.package).items()
        }

    def texts_of(self, ending: str) -> dict[str, str]:
        return {name: text for name, text in self.texts.items() if name.endswith(ending)}


GATEWAY = Page("services.gateway.page", "/page")
CONSOLE = Page("services.console.page", "/console/page")

every_page = pytest.mark.parametrize("page", [GATEWAY, CONSOLE], ids=str)


@every_page
def test_every_file_that_a_page_names_is_there(page: Page) -> None:
    named = set(re.findall(rf'(?:src|href)="{page.below}/([^"]+)"', page.texts["index.html"]))
    for script in page.texts_of(".js").values():
        named |= set(re.findall(r'from "\./([^"]+)"', script))

    assert named == page.texts.keys() - {"index.html"}


@every_page
def test_nothing_comes_from_elsewhere_and_nothing_is_inline(page: Page) -> None:
    index = page.texts["index.html"]

    assert re.findall(r'(?:src|href|action)="(?!/|#)', index) == []
    assert re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", index) == []
    for sheet in page.texts_of(".css").values():
        assert "@import" not in sheet
        assert "url(" not in sheet


@every_page
def test_no_script_keeps_a_token_or_makes_markup_of_text(page: Page) -> None:
    for script in page.texts_of(".js").values():
        source = re.sub(r"//.*", "", script)
        for word in ("localStorage", "sessionStorage", "indexedDB", "document.cookie"):
            assert word not in source
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in source
        assert re.findall(r"https?://(?!www\.rfc-editor\.org/|www\.w3\.org/2000/svg)", script) == []


def test_the_console_lets_ask_for_every_kind_of_audit_entry() -> None:
    listed = re.search(r"WHAT = \[(.*?)\]", CONSOLE.texts["audit.js"], re.DOTALL)

    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed[1])) == set(What)
