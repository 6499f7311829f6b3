"""`nomad esi` shows what stops requests to ESI and SSO."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import redis

from nomad_actors.clock import SystemClock
from nomad_actors.esi import ROUTES, NotSent
from nomad_actors.esi.limits import Limiter, Outcome
from nomad_actors.esi.limits.brakes import down


def shown(redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nomad_actors.cli", "esi", *arguments]
    environ = {**os.environ, "REDIS_URL": redis_url, "COLUMNS": "200"}
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
    limiter.brake(down("ESI answered 503 for /status"))
    text = shown(redis_url).stdout
    for expected in ("63", "ESI answered 503 for /status", "then one probe", "char-notification:app:7"):
        assert expected in text, text
    state = json.loads(shown(redis_url, "--json").stdout)
    assert state["errorsRemaining"] == 63
    assert [(brake["name"], brake["kind"], brake["probes"]) for brake in state["brakes"]] == [("esi", "down", True)]
    assert [bucket["name"] for bucket in state["starving"]] == ["char-notification:app:7"]


def test_a_redis_that_does_not_answer_is_named() -> None:
    done = shown("redis://127.0.0.1:1/0")
    assert done.returncode == 5
    assert "the limits are in Redis, which does not answer" in done.stderr
    assert "Traceback" not in done.stderr
