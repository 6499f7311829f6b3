"""The probe after a brake on everything: `/status`, and a request if `/status` itself is broken."""

from __future__ import annotations

import pytest

from nomad_actors.clock import ManualClock
from nomad_actors.esi import ROUTES, EsiClient, EsiUnavailable, NotSent
from nomad_actors.esi.client import UNCLEAR_PROBES
from nomad_actors.esi.limits import BrakeState, Limiter
from nomad_actors.esi.limits.brakes import down
from nomad_actors.metrics.definitions import ESI_NOT_SENT
from sandbox.serve import SandboxServer

from .conftest import Reply, Scripted

WALLET = ROUTES["/characters/{character_id}/wallet"]
PATH = "/characters/7/wallet"


def ask(esi: EsiClient) -> float:
    body: float = esi.get(WALLET, character_id=7, access_token="t").body
    return body


def brake_after(limiter: Limiter, clock: ManualClock) -> BrakeState | None:
    """Return the brake on everything, at the moment when the next probe may be sent."""
    found = next((each for each in limiter.state().brakes if each.name == "esi"), None)
    if found is not None:
        clock.advance(seconds=max(found.until_ms - clock.now_ms(), 10_000) / 1000)
    return found


@pytest.mark.parametrize(
    "broken",
    [
        Reply(500, {"error": "Unhandled internal error encountered!"}),
        Reply(404, {"error": "not found"}),
        Reply(200, {"error": "odd"}),
        Reply(200, b"<html>"),
        Reply(502, b"<html>"),
        Reply(cut=True),
    ],
    ids=str,
)
def test_a_status_that_is_broken_alone_does_not_stop_everything_for_ever(
    scripted_esi: EsiClient, scripted: Scripted, limiter: Limiter, clock: ManualClock, broken: Reply
) -> None:
    scripted.reply_with("/status", broken)
    scripted.reply_with(PATH, Reply(200, 12.5))
    limiter.brake(down("ESI answered 503"))
    for _ in range(UNCLEAR_PROBES):
        assert brake_after(limiter, clock) is not None
        with pytest.raises(NotSent):
            ask(scripted_esi)
    assert [received.path for received in scripted.received] == ["/status"] * UNCLEAR_PROBES
    brake_after(limiter, clock)
    assert ask(scripted_esi) == 12.5
    assert limiter.state().brakes == []


def test_a_request_that_fails_too_is_the_only_one(
    scripted_esi: EsiClient, scripted: Scripted, limiter: Limiter, clock: ManualClock
) -> None:
    scripted.reply_with("/status", Reply(500))
    scripted.reply_with(PATH, Reply(500, {"error": "x"}), Reply(503, {"error": "x"}), Reply(200, 12.5))
    limiter.brake(down("ESI answered 503"))
    for _ in range(UNCLEAR_PROBES):
        brake_after(limiter, clock)
        with pytest.raises(NotSent):
            ask(scripted_esi)
    for _ in range(2):
        brake_after(limiter, clock)
        with pytest.raises(EsiUnavailable):
            ask(scripted_esi)
        with pytest.raises(NotSent):
            ask(scripted_esi)
    # The 503 was ESI's own word: /status is asked as often as at first before another request is sent.
    for _ in range(UNCLEAR_PROBES):
        brake_after(limiter, clock)
        with pytest.raises(NotSent):
            ask(scripted_esi)
    brake_after(limiter, clock)
    assert ask(scripted_esi) == 12.5


@pytest.mark.parametrize(
    "says_no",
    [
        Reply(503, {"error": "The datasource tranquility is temporarily unavailable"}),
        Reply(200, {"players": 1, "vip": True}),
        Reply(420, {"error": "Error limited"}),
        Reply(429, {"error": "x"}),
    ],
    ids=str,
)
def test_while_status_says_that_esi_is_closed_nothing_else_is_sent(
    scripted_esi: EsiClient, scripted: Scripted, limiter: Limiter, clock: ManualClock, says_no: Reply
) -> None:
    scripted.reply_with("/status", Reply(500), Reply(500), Reply(500), says_no)
    scripted.reply_with(PATH, Reply(200, 12.5))
    limiter.brake(down("ESI answered 503"))
    for _ in range(3 * UNCLEAR_PROBES):
        brake_after(limiter, clock)
        with pytest.raises(NotSent):
            ask(scripted_esi)
    assert {received.path for received in scripted.received} == {"/status"}


def test_what_status_says_about_time_is_respected(
    scripted_esi: EsiClient, scripted: Scripted, limiter: Limiter, clock: ManualClock
) -> None:
    scripted.reply_with("/status", Reply(503, {}, {"Retry-After": "300"}))
    limiter.brake(down("ESI answered 503"))
    brake_after(limiter, clock)
    with pytest.raises(NotSent):
        ask(scripted_esi)
    (found,) = limiter.state().brakes
    assert found.until_ms - clock.now_ms() == 300_000


def test_a_failed_probe_is_counted_as_not_sent(
    scripted_esi: EsiClient, scripted: Scripted, limiter: Limiter, clock: ManualClock
) -> None:
    scripted.reply_with("/status", Reply(503))
    limiter.brake(down("ESI answered 503"))
    brake_after(limiter, clock)
    before = ESI_NOT_SENT.labels("esi")._value.get()
    with pytest.raises(NotSent):
        ask(scripted_esi)
    assert ESI_NOT_SENT.labels("esi")._value.get() == before + 1


def test_the_sandboxs_status_may_be_broken_alone(
    esi: EsiClient, sandbox: SandboxServer, limiter: Limiter, clock: ManualClock
) -> None:
    sandbox.fail("/status", 500, times=99)
    limiter.brake(down("no connection"))
    route = ROUTES["/characters/{character_id}"]
    for _ in range(UNCLEAR_PROBES):
        brake_after(limiter, clock)
        with pytest.raises(NotSent):
            esi.get(route, character_id=sandbox.logins()[0]["character_id"], access_token=None)
    brake_after(limiter, clock)
    assert esi.get(route, character_id=sandbox.logins()[0]["character_id"], access_token=None).status == 200
    assert limiter.state().brakes == []
