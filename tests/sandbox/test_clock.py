"""The clock: advanced, fast, or stopped; everything in the sandbox follows it."""

from __future__ import annotations

import threading
import time

import pytest
import requests

from sandbox.clock import SandboxClock
from sandbox.serve import SandboxServer

from .conftest import NOW_S, Visitor


def test_a_fast_clock_runs_a_thousand_times_as_fast_as_the_hosts() -> None:
    clock, began = SandboxClock(start_s=NOW_S, speed=1_000), time.monotonic()
    clock.wait(100)
    assert clock.now() >= NOW_S + 100
    assert time.monotonic() - began < 10, "100 s take a tenth of a second"


def test_the_speed_can_be_changed_without_a_step() -> None:
    clock = SandboxClock(frozen_at_s=NOW_S)
    clock.advance(5)
    clock.set_speed(1)
    assert NOW_S + 5 <= clock.now() < NOW_S + 65
    clock.set_speed(0)
    stopped_s = clock.now()
    assert clock.now() == stopped_s


@pytest.mark.parametrize("speed", [-1, 10_001, float("nan")])
def test_an_impossible_speed_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="0 to 10000"):
        SandboxClock(start_s=NOW_S, speed=speed)


def test_a_wait_on_a_stopped_clock_ends_when_it_is_advanced() -> None:
    clock = SandboxClock(frozen_at_s=NOW_S)
    waiting = threading.Thread(target=clock.wait, args=(10,))
    waiting.start()
    clock.advance(9)
    assert waiting.is_alive()
    clock.advance(1)
    waiting.join(10)
    assert not waiting.is_alive()


def test_windows_and_token_lifetimes_follow_a_fast_clock() -> None:
    with SandboxServer(characters=1, clock=SandboxClock(start_s=NOW_S, speed=2_000)) as fast:
        visitor = Visitor(fast, 0)
        first = visitor.get("/wallet")
        fast.clock.wait(1_200)
        assert visitor.get("/wallet").json() == {"error": "token is expired"}
        visitor.renew()
        second = visitor.get("/wallet")
    assert second.headers["Last-Modified"] != first.headers["Last-Modified"]
    assert second.headers["X-Ratelimit-Remaining"] == "148", "the first 2 tokens have come back"


def test_the_control_api_sets_the_speed(sandbox: SandboxServer) -> None:
    url = f"{sandbox.base_url}/sandbox/clock"
    assert requests.get(url, timeout=10).json() == {"now_ms": NOW_S * 1000, "speed": 0}
    assert requests.post(url, json={"speed": 60}, timeout=10).json()["speed"] == 60
    assert sandbox.clock.speed == 60
    for wrong in ({"speed": -1}, {"speed": "fast"}, {}, {"seconds": 5}):
        assert requests.post(url, json=wrong, timeout=10).status_code == 400
