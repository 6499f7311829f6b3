"""Our routes are compared with CCP's documents, which the sandbox serves too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import requests

from nomad_actors.clock import SystemClock
from nomad_actors.esi import EsiClient, EsiUnavailable
from nomad_actors.esi.limits import Limiter
from nomad_actors.esi.spec_check import SpecCheck, check, differences, read_check
from sandbox.serve import SandboxServer

OPENAPI = "/meta/openapi.json"
WALLET, SKILLS = "/characters/{character_id}/wallet", "/characters/{character_id}/skills"


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(seed=7, characters=1) as sandbox:
        yield sandbox


@pytest.fixture
def document(sandbox: SandboxServer) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(sandbox.base_url + OPENAPI, timeout=10).json()
    return found


@pytest.fixture
def limits(redis_url: str) -> Limiter:
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    return Limiter(client, clock=SystemClock(), application="app")


def run(sandbox: SandboxServer, limits: Limiter) -> SpecCheck:
    agent = "nomad-tests/1 (tests@example.com)"
    esi = EsiClient(base_url=sandbox.base_url, user_agent=agent, clock=SystemClock(), limiter=limits)
    return check(esi, limits.client, SystemClock())


def test_the_documents_agree_and_the_requests_are_within_the_rules(sandbox: SandboxServer, limits: Limiter) -> None:
    assert read_check(limits.client) is None
    found = run(sandbox, limits)
    assert (found.differences, found.newest_date) == ([], "2026-08-18")
    assert read_check(limits.client) == found
    asked = [each.path for each in sandbox.requests()]
    assert asked == ["/meta/compatibility-dates", OPENAPI]
    assert sandbox.conduct()["total"] == 0
    assert limits.state().under_way == 0


@pytest.mark.parametrize(
    ("path", "changed", "expected"),
    [
        (WALLET, {"x-cache-age": 300}, "freshness (s) is 300, we have 120"),
        (WALLET, {"x-client-cache-ttl": 60}, "freshness (s) is 60, we have 120"),
        (WALLET, {"x-cache-age": None}, "freshness (s) is none, we have 120"),
        (WALLET, {"x-cache-mode": "event-based"}, "cache mode is event-based, we have ttl-based"),
        (SKILLS, {"x-server-cache-mode": "no-cache"}, "cache mode is no-cache, we have event-based"),
        (WALLET, {"x-rate-limit": None}, "rate group is none, we have char-wallet"),
        (WALLET, {"x-rate-limit": {"group": "char-money"}}, "rate group is char-money, we have char-wallet"),
    ],
)
def test_each_difference_is_named(document: dict[str, Any], path: str, changed: dict[str, Any], expected: str) -> None:
    document["paths"][path]["get"] |= changed
    assert differences(document) == [f"{path}: {expected}"]


def test_a_route_that_is_gone_and_newer_names_of_the_same(document: dict[str, Any]) -> None:
    operation = document["paths"][WALLET]["get"]
    operation |= {"x-client-cache-ttl": 120, "x-server-cache-mode": "ttl-based", "x-unknown": 1}
    assert differences(document) == []
    del document["paths"][WALLET]
    assert differences(document) == [f"{WALLET} is not there"]


@pytest.mark.parametrize("body", [{}, {"paths": {}}, {"paths": []}])
def test_a_document_without_routes_is_no_result(sandbox: SandboxServer, limits: Limiter, body: Any) -> None:
    run(sandbox, limits)
    before = read_check(limits.client)
    sandbox.fail(OPENAPI, 200, body=body)
    with pytest.raises(EsiUnavailable, match="has no paths"):
        run(sandbox, limits)
    assert read_check(limits.client) == before


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (["2027-01-05", "2026-07-17"], []),
        (["2026-08-18"], ["the compatibility date 2026-07-17 is not there; the newest is 2026-08-18"]),
        (
            ["2026-07-17", "2027-05-14"],
            ["the compatibility date 2026-07-17 is 301 days older than the newest, 2027-05-14"],
        ),
        (["2026-07-17", "2027-05-13"], []),
    ],
)
def test_the_compatibility_date(sandbox: SandboxServer, limits: Limiter, dates: list[str], expected: list[str]) -> None:
    sandbox.fail("/meta/compatibility-dates", 200, body={"compatibility_dates": dates})
    assert run(sandbox, limits).differences == expected


def test_the_command_prints_the_differences(sandbox: SandboxServer, redis_url: str, document: dict[str, Any]) -> None:
    environ = {"PATH": os.environ["PATH"], "REDIS_URL": redis_url, "ESI_BASE_URL": sandbox.base_url}

    def shown(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nomad_actors.cli", "esi", "check", *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    done = shown()
    assert (done.returncode, done.stderr) == (0, "")
    assert "CCP's documents and our routes agree" in done.stdout
    document["paths"][WALLET]["get"]["x-cache-age"] = 300
    sandbox.fail(OPENAPI, 200, body=document, times=2)
    done = shown()
    assert (done.returncode, f"{WALLET}: freshness (s) is 300" in done.stdout) == (1, True)
    assert len(json.loads(shown("--json").stdout)["differences"]) == 1
    sandbox.fail(OPENAPI, 500)
    done = shown()
    assert (done.returncode, "Traceback" in done.stderr) == (5, False)
