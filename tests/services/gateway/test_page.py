"""The page: its files as they are, under a policy that lets nothing else run."""

import re
from importlib.resources import files

import httpx
import pytest

from auth.explain import decode_unverified
from services.web.files import POLICY
from tests.services.gateway.stack import User
from tests.services.gateway.test_journeys import place, watching

PAGE = files("services.gateway.page")
SCRIPTS = sorted(each.name for each in PAGE.iterdir() if each.name.endswith(".js"))


def text(name: str) -> str:
    return PAGE.joinpath(name).read_text(encoding="utf-8")


async def test_the_page_is_served_under_a_strict_policy(http: httpx.AsyncClient) -> None:
    answer = await http.get("/")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'")


async def test_every_file_that_the_page_names_is_there(http: httpx.AsyncClient) -> None:
    named = set(re.findall(r'(?:src|href)="(/page/[^"]+)"', text("index.html")))
    for script in SCRIPTS:
        named |= {f"/page/{name}" for name in re.findall(r'from "\./([^"]+)"', text(script))}

    assert len(named) > len(SCRIPTS)
    for path in named:
        answer = await http.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"] == POLICY


async def test_what_has_not_changed_is_not_sent_again(http: httpx.AsyncClient) -> None:
    first = await http.get("/page/style.css")
    again = await http.get("/page/style.css", headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["cache-control"] == "max-age=0, must-revalidate"
    assert (again.status_code, again.content) == (304, b"")


async def test_the_page_can_be_asked_about(http: httpx.AsyncClient) -> None:
    answer = await http.head("/")

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/__init__.py", "/page/index.html", "/page/%2e%2e/app.py", "/page/x.js"],
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    page = text("index.html")

    assert re.findall(r'(?:src|href|action)="(?!/|#)', page) == []
    assert re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", page) == []
    assert "@import" not in text("style.css")
    assert "url(" not in text("style.css")


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_keeps_a_token_or_makes_markup_of_text(script: str) -> None:
    source = re.sub(r"//.*", "", text(script))

    for word in ("localStorage", "sessionStorage", "indexedDB", "document.cookie"):
        assert word not in source
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in source
    assert re.findall(r"https?://(?!www\.rfc-editor\.org/)", text(script)) == []


async def test_every_claim_that_a_visitor_may_meet_is_explained(ada: User) -> None:
    async with watching(ada) as watch:
        await place(ada, f"{watch.stream}.first")
        journey = (await watch.next()).data

    explained = set(re.findall(r"^  (\w+): \[", text("claims.js"), re.MULTILINE))
    for token in (journey["carnet"], journey["seal"]):
        assert explained >= token["claims"].keys() | token["header"].keys()
    assert explained >= decode_unverified(ada.tokens["access_token"]).unverified_claims.keys()
