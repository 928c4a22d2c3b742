"""Each fault has its problem, and a document says no more than it should."""

import json
import os
import subprocess
import sys

import pytest
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from auth.errors import TrustUnavailableError
from messaging.contract import InvalidBodyError
from messaging.errors import (
    BacklogFullError,
    BrokerBlockedError,
    BrokerUnavailableError,
    BrokerUnreachableError,
    CutOffError,
    DatabaseUnavailableError,
    LateError,
    NackedError,
    OversizedHeadersError,
    PublishForbiddenError,
    UnroutableError,
)
from messaging.rpc import (
    NoRecipientKeyError,
    RpcRefusedError,
    RpcTimeoutError,
    RpcUnavailableError,
)
from services.gateway.settings import GatewaySettings
from services.web import problems
from services.web.faults import problem_of, quotable
from services.web.problems import ProblemError, problem_response

FAULTS: list[tuple[Exception, int, str]] = [
    (BrokerUnavailableError("x"), 503, "broker_unavailable"),
    (BrokerUnreachableError("x"), 503, "broker_unavailable"),
    (BrokerBlockedError("x"), 503, "broker_blocked"),
    (BacklogFullError("x"), 503, "backlog_full"),
    (UnroutableError("x"), 503, "unroutable"),
    (PublishForbiddenError("x"), 503, "unroutable"),
    (NackedError("x"), 503, "unconfirmed"),
    (LateError("x"), 503, "unconfirmed"),
    (CutOffError("x"), 503, "unconfirmed"),
    (RpcTimeoutError("x"), 503, "upstream_unavailable"),
    (RpcUnavailableError("x"), 503, "upstream_unavailable"),
    (NoRecipientKeyError("x"), 503, "upstream_unavailable"),
    (TrustUnavailableError("x"), 503, "trust_unavailable"),
    (DatabaseUnavailableError("x"), 503, "store_unavailable"),
    (InvalidBodyError("x"), 502, "upstream_refused"),
    (RpcRefusedError("not_found", "x"), 404, "not_found"),
    (RpcRefusedError("name_taken", "x"), 409, "name_taken"),
    (RpcRefusedError("invalid_credentials", "x"), 401, "invalid_credentials"),
    (RpcRefusedError("too_many_attempts", "x"), 429, "too_many_attempts"),
    (RpcRefusedError("invalid_grant", "x"), 401, "invalid_grant"),
    (RpcRefusedError("revoked", "x"), 401, "invalid_grant"),
    (RpcRefusedError("invalid_cursor", "x"), 422, "invalid_request"),
    (RpcRefusedError("insufficient_scope", "x"), 403, "insufficient_scope"),
    (RpcRefusedError("invalid_scope", "x"), 403, "insufficient_scope"),
    (RpcRefusedError("expired", "x"), 503, "upstream_unavailable"),
    (RpcRefusedError("invalid_target", "x"), 502, "upstream_refused"),
    (RpcRefusedError("internal_error", "x"), 502, "upstream_refused"),
    (RpcRefusedError("seal_mismatch", "x"), 502, "upstream_refused"),
]


@pytest.mark.parametrize(("fault", "status", "code"), FAULTS, ids=repr)
def test_each_fault_has_its_problem(fault: Exception, status: int, code: str) -> None:
    problem = problem_of(fault)

    assert problem is not None
    assert (problem.status_code, problem.kind.code) == (status, code)
    assert isinstance(problem, HTTPException)
    headers = problem.headers or {}
    assert ("Retry-After" in headers) == (status in {429, 503})
    assert ("WWW-Authenticate" in headers) == (status == 401)


@pytest.mark.parametrize("fault", [OversizedHeadersError("x"), LookupError("x"), KeyError("x")])
def test_what_nobody_foresaw_has_none(fault: Exception) -> None:
    assert problem_of(fault) is None


def test_a_problem_stays_the_problem_that_it_is() -> None:
    problem = ProblemError(problems.NOT_FOUND, "Gone.")

    assert problem_of(problem) is problem


def test_a_document_has_the_members_of_rfc_9457_and_those_that_were_added() -> None:
    problem = ProblemError(problems.UNCONFIRMED, "Unknown.", headers={"Retry-After": "2"})

    response = problem_response(problem.adding({"Idempotency-Key": "k"}, order_id="an order"))

    document = json.loads(bytes(response.body))
    instance = document.pop("instance")
    assert instance.startswith("urn:uuid:")
    assert document == {
        "type": "urn:carnet:problem:unconfirmed",
        "title": "The broker did not confirm the command",
        "status": 503,
        "detail": "Unknown.",
        "code": "unconfirmed",
        "order_id": "an order",
    }
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "2"
    assert response.headers["idempotency-key"] == "k"


def test_every_occurrence_is_another_instance() -> None:
    problem = ProblemError(problems.NOT_FOUND, "Gone.")

    bodies = {bytes(problem_response(problem).body) for _ in range(2)}

    assert len(bodies) == 2


def test_a_description_has_only_what_a_header_may_carry() -> None:
    assert quotable('a "quoted" \\ …line\r\nX-Injected: 1') == "a quoted  lineX-Injected: 1"


SETTINGS = {
    "amqp_url": "amqp://localhost",
    "trust_root": "trust-root.json",
    "key_set": "key-set.jwt",
    "keys": "keys",
    "trust_state": "trust",
    "database_url": "sqlite+aiosqlite:///gateway.db",
    "port": 8080,
}


@pytest.mark.parametrize(
    "origins",
    ["*", "https://shop.example,*", "https://*.example", "shop.example", "https://shop.example/"],
)
def test_origins_are_named_one_by_one(origins: str) -> None:
    with pytest.raises(ValidationError, match="never"):
        GatewaySettings.model_validate({**SETTINGS, "cors_origins": origins})


@pytest.mark.parametrize("proxies", ["*", "10.0.0.1/8", "10.0.0.0/33", "proxy.example", "10.0"])
def test_trusted_proxies_are_networks(proxies: str) -> None:
    with pytest.raises(ValidationError, match="trusted_proxies"):
        GatewaySettings.model_validate({**SETTINGS, "trusted_proxies": proxies})


def test_trusted_proxies_are_none_by_default_and_may_be_many() -> None:
    none = GatewaySettings.model_validate(SETTINGS)
    some = GatewaySettings.model_validate(
        {**SETTINGS, "trusted_proxies": "10.0.0.7, 10.1.0.0/16,2001:db8::/32"}
    )

    assert none.options().trusted_proxies == ()
    assert [str(network) for network in some.options().trusted_proxies] == [
        "10.0.0.7/32",
        "10.1.0.0/16",
        "2001:db8::/32",
    ]


@pytest.mark.parametrize(
    "url", ["carnet.example", "ftp://x", "https://x/", "https://x?y", f"https://{'x' * 200}"]
)
def test_a_public_url_is_scheme_and_host(url: str) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings.model_validate({**SETTINGS, "public_url": url})


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"host": "::"}, "http://localhost:8080"),
        ({"host": "::1"}, "http://[::1]:8080"),
        ({"public_url": "https://carnet.example"}, "https://carnet.example"),
    ],
)
def test_the_public_url_is_where_it_listens_unless_it_is_said(
    settings: dict[str, str], url: str
) -> None:
    assert GatewaySettings.model_validate({**SETTINGS, **settings}).options().public_url == url


def test_missing_settings_are_one_line_and_a_failure() -> None:
    environment = {name: value for name, value in os.environ.items() if "CARNET" not in name}

    ended = subprocess.run(
        [sys.executable, "-m", "services.gateway"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "CARNET_AMQP_URL" in ended.stderr
