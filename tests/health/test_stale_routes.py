"""A stale route always says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from nomad_actors.clock import ManualClock
from nomad_actors.esi import ROUTES
from nomad_actors.esi.limits import BrakeState
from nomad_actors.health.stale_routes import moment, why_stale
from nomad_actors.store.route_status import CharacterStatus, RouteStatus

NOW = moment(ManualClock(1_793_491_200_000))
HOUR_MS = 3_600_000
JOURNAL, PUBLIC = (ROUTES[f"/characters/{{character_id}}{suffix}"] for suffix in ("/wallet/journal", ""))
CHARACTER = CharacterStatus(
    character_id=7,
    user_id=1,
    name="Ada Voss",
    state="active",
    state_reason=None,
    state_changed_ms=0,
    scopes=frozenset(JOURNAL.scopes),
    offline_since_ms=None,
    rank=2,
)
CURRENT = RouteStatus(
    route=JOURNAL.name,
    attempted_ms=NOW.now_ms - HOUR_MS,
    synced_ms=NOW.now_ms - HOUR_MS,
    as_of_ms=NOW.now_ms - HOUR_MS,
    fresh_until_ms=NOW.now_ms,
    changed_ms=None,
    next_due_ms=NOW.now_ms,
    queued_ms=None,
    asked_ms=NOW.now_ms - HOUR_MS,
    failures=0,
    error=None,
    request_id=None,
    refused_until_ms=None,
    refusals=0,
    set_aside=0,
)
LATE: dict[str, Any] = {"next_due_ms": NOW.late_before_ms - 1}


def brake(name: str, *, probes: bool = True) -> BrakeState:
    return BrakeState(
        name=name,
        kind="down",
        reason="it is down",
        since_ms=0,
        stops="something",
        until_ms=NOW.now_ms,
        is_probing=probes,
        strikes=1,
        probes=probes,
        stopped=0,
        remedy=None,
    )


def why(
    changed: dict[str, Any] | None = None,
    *brakes: BrakeState,
    character: CharacterStatus = CHARACTER,
    never: bool = False,
) -> str | None:
    status = None if never else dataclasses.replace(CURRENT, **(changed or {}))
    return why_stale(JOURNAL, status, character, brakes, NOW)


def test_a_current_route_has_no_reason_even_if_its_last_attempt_failed() -> None:
    assert why() is None
    assert why({}, brake("esi")) is None
    assert why({"failures": 1, "error": "ESI answered 500"}) is None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (LATE, "due since 2026-10-31 23:44:59 UTC; no attempt since 2026-10-31 23:00:00 UTC: its job waits"),
        (LATE | {"attempted_ms": None}, "not attempted yet"),
        ({"synced_ms": None, "attempted_ms": None}, "not attempted yet"),
        (LATE | {"error": "SSO is down"}, "2026-10-31 23:00:00 UTC, did not succeed: SSO is down"),
        (LATE | {"error": "ESI answered 500", "failures": 3}, "did not succeed, 3 times in a row: ESI answered 500"),
        (
            {"refused_until_ms": NOW.now_ms + HOUR_MS, "error": "403"},
            "until 2026-11-01 01:00:00 UTC, because of ESI's last answer: 403",
        ),
        (LATE | {"asked_ms": NOW.subscribed_since_ms - 1}, "nobody has requested it for 30 days"),
        (LATE | {"asked_ms": None}, "nobody has requested it for 30 days"),
    ],
)
def test_the_routes_own_reason(changed: dict[str, Any], expected: str) -> None:
    found = why(changed)
    assert found is not None
    assert expected in found


def test_a_route_that_was_never_requested() -> None:
    assert why(never=True) == "nobody has requested it yet"


@pytest.mark.parametrize("changed", [LATE, LATE | {"error": "ESI answered 500"}, {"synced_ms": None}])
def test_the_login_comes_first(changed: dict[str, Any]) -> None:
    lost = dataclasses.replace(CHARACTER, state="needs_login", state_reason="SSO: token missing/expired")
    assert why(changed, brake("esi"), character=lost) == "the player must log in again: SSO: token missing/expired"
    narrow = dataclasses.replace(CHARACTER, scopes=frozenset())
    assert f"lacks the scope {JOURNAL.scopes[0]}" in (why(changed, brake("sso"), character=narrow) or "")
    sold = dataclasses.replace(CHARACTER, state="sold")
    assert why(changed, character=sold) == "the character is sold: nothing is requested for it"


@pytest.mark.parametrize(
    "name", ["esi", "sso", "tokens", "character:7", f"route:{JOURNAL.name}", "bucket:char-wallet:app:7"]
)
def test_the_brake_that_stops_it(name: str) -> None:
    assert why(LATE, brake("character:77"), brake(name)) == (
        f"brake {name} until a request succeeds, tried since 2026-11-01 00:00:00 UTC: it is down"
    )
    assert "then until" not in (why(LATE, brake(name, probes=False)) or "")


@pytest.mark.parametrize(
    "name", ["character:77", f"route:{PUBLIC.name}", "bucket:char-wallet:app:77", "bucket:char-detail:app:7"]
)
def test_a_brake_on_something_else_is_no_reason(name: str) -> None:
    assert "brake" not in (why(LATE, brake(name)) or "")


@pytest.mark.parametrize("name", ["sso", "tokens", "character:7"])
def test_a_public_route_needs_no_token(name: str) -> None:
    brakes: Sequence[BrakeState] = [brake(name)]
    status = dataclasses.replace(CURRENT, route=PUBLIC.name, **LATE)
    found = why_stale(PUBLIC, status, dataclasses.replace(CHARACTER, scopes=frozenset()), brakes, NOW)
    assert found is not None
    assert "brake" not in found
