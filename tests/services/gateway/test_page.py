"""The page: its files as they are, under a policy that lets nothing else run."""

import re

import httpx
import pytest

from auth.explain import decode_unverified
from services.web.files import POLICY, SHARED, page_files
from tests.services.gateway.stack import User
from tests.services.gateway.test_journeys import place, watching

PAGE = page_files(SHARED, "services.gateway.page")


async def test_the_page_is_served_under_a_strict_policy(http: httpx.AsyncClient) -> None:
    answer = await http.get("/")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'")


async def test_every_file_is_served(http: httpx.AsyncClient) -> None:
    for name in PAGE.keys() - {"index.html"}:
        answer = await http.get(f"/page/{name}")
        assert answer.status_code == 200, name
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


async def test_every_claim_that_a_visitor_may_meet_is_explained(ada: User) -> None:
    async with watching(ada) as watch:
        await place(ada, f"{watch.stream}.first")
        journey = (await watch.next()).data

    claims = PAGE["claims.js"].content.decode()
    explained = set(re.findall(r"^  (\w+): \[", claims, re.MULTILINE))
    for token in (journey["carnet"], journey["seal"]):
        assert explained >= token["claims"].keys() | token["header"].keys()
    assert explained >= decode_unverified(ada.tokens["access_token"]).unverified_claims.keys()
