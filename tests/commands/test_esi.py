"""`nomad esi` shows what stops requests to ESI and SSO."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import redis

from nomad_actors.clock import SystemClock
from nomad_actors.esi import ROUTES, NotSent
from nomad_actors.esi.limits import Limiter, Outcome, outcome_of
from nomad_actors.esi.limits.brakes import Brake, BrakeKind, down, failing, rejected, sso_refuses_us
from tests.support.databases import put_database


def shown(redis_url: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nomad_actors.cli", "esi", *arguments]
    environ = {**os.environ, "REDIS_URL": redis_url, "COLUMNS": "200", **settings}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_brakes_the_error_limit_and_buckets_without_room_are_shown(redis_url: str) -> None:
    assert "No brake is in force." in shown(redis_url).stdout
    decoding = redis.Redis.from_url(redis_url, decode_responses=True)
    limiter = Limiter(decoding, clock=SystemClock(), application="app")
    orders, notifications = (ROUTES[f"/characters/{{character_id}}/{name}"] for name in ("orders", "notifications"))
    outcome = Outcome(spent=5, is_error=True, error_remaining=63, error_reset_ms=50_000)
    limiter.settle(limiter.reserve(orders, 7), outcome)
    for _ in range(20):
        try:
            limiter.settle(limiter.reserve(notifications, 7), Outcome(spent=5))
        except NotSent:
            break
    limiter.brake(replace(down("ESI answered 503 for /status"), for_ms=600_000))
    limiter.brake(replace(failing(orders.name), for_ms=0))
    limiter.brake(rejected(7, "ESI answered 401"))
    limiter.brake(Brake(name="bucket:char-wallet:app:7", kind=BrakeKind.RATE_LIMIT, reason="429", for_ms=60_000))
    text = shown(redis_url).stdout
    for expected in (
        *("63", "ESI answered 503 for /status", "s, then one probe", "char-notification:app:7", "probing for "),
        *("rate group char-wallet of character 7 ", "this route of every character ", "requests with its token "),
    ):
        assert expected in text, text
    state = json.loads(shown(redis_url, "--json").stdout)
    assert state["errorsRemaining"] == 63
    first, *others = state["brakes"]
    assert (first["name"], first["kind"], first["probes"], first["isProbing"]) == ("esi", "down", True, False)
    assert {brake["name"] for brake in others if brake["isProbing"]} == {f"route:{orders.name}"}
    assert [bucket["name"] for bucket in state["starving"]] == ["char-notification:app:7"]


def test_a_redis_that_does_not_answer_is_named() -> None:
    done = shown("redis://127.0.0.1:1/0")
    assert done.returncode == 5
    assert "the limits are in Redis, which does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_brake_is_lifted_by_hand_and_that_is_in_the_audit_log(redis_url: str, tmp_path: Path) -> None:
    limiter = Limiter(
        redis.Redis.from_url(redis_url, decode_responses=True), clock=SystemClock(), application="sandbox-client"
    )
    database_url = put_database(tmp_path / "nomad.db")
    environ = {"DATABASE_URL": database_url}
    limiter.brake(sso_refuses_us("SSO answered 401: invalid_client; check EVE_CLIENT_ID and EVE_CLIENT_SECRET"))
    text = shown(redis_url).stdout
    assert "every token refresh" in text
    assert "sso: correct EVE_CLIENT_ID and EVE_CLIENT_SECRET" in text
    refused = shown(redis_url, "lift", "sso", **environ)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert [each.name for each in limiter.state().brakes] == ["sso"]
    done = shown(redis_url, "lift", "sso", "--yes", **environ)
    assert (done.returncode, done.stdout) == (0, "sso is lifted. The next failure sets it again.\n"), done.stderr
    assert limiter.state().brakes == []
    log = subprocess.run(
        [sys.executable, "-m", "nomad_actors.cli", "audit", "--json"],
        env={**os.environ, "REDIS_URL": redis_url, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "/admin/jobs/esi/brakes/sso/lift" in log
    assert '"uid' in log
    unknown = shown(redis_url, "lift", "sso", "--yes", **environ)
    assert unknown.returncode == 3, unknown.stderr
    assert "brake 'sso' is not in force" in unknown.stderr


def test_what_esi_said_of_its_limits_can_be_forgotten(redis_url: str) -> None:
    limiter = Limiter(redis.Redis.from_url(redis_url, decode_responses=True), clock=SystemClock(), application="app")
    orders = ROUTES["/characters/{character_id}/orders"]
    headers = {"X-Ratelimit-Group": "char-market", "X-Ratelimit-Limit": "30/15m", "X-Ratelimit-Used": "20"}
    limiter.settle(limiter.reserve(orders, 7), outcome_of(200, headers, limited="x", reason="r"))
    text = shown(redis_url).stdout
    assert "BUCKET, HALF USED OR MORE" in text
    assert "char-market:app:7" in text
    assert shown(redis_url, "forget").returncode == 2
    assert shown(redis_url, "forget", "--yes").stdout.startswith("Forgot char-market;")
    assert json.loads(shown(redis_url, "forget", "--yes", "--json").stdout) == {"success": True, "groups": []}
