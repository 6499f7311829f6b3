"""An hour with bad weather at ESI and SSO, and the sandbox's record of all that CCP would have frowned on: empty.

The system runs as users run it, with its own Redis and SQLite, beside a strict sandbox. Both are on one fast clock
(`fast_time` says how, and why not otherwise), at the factor that the result names. The long form is an hour: with
`--seconds 300` at a factor of 12. What is asserted is only what can be seen from outside: the sandbox's record and
counters, the database, the queues.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nomad_actors.esi import ROUTES
from nomad_actors.store.logins import ACTIVE
from nomad_actors.store.schema import sync_state
from nomad_actors.testing import wait_until

from .data_age import DataAges, Outage
from .fast_system import FastSystem, Sandbox

#: The hour begins a while before a full hour, at which nothing may burst.
START = "2026-11-24T08:20:00Z"
#: How much of all answers is faulty.
SHARE = 0.02
#: ESI's: no answer, useless ones, and limits. A 403 or 404 is no weather: its route is not asked for an hour.
ESI_FAULTS = (
    *("unhandled", "bad-gateway", "unavailable", "hang", "no-reply", "dropped", "lost"),
    *("null", "empty-string", "error-object", "empty-body", "no-content", "html", "truncated", "cut"),
    *("mixed-page", "no-x-pages", "more-pages", "turnover"),
    *("hidden-429", "429", "throttled", "unauthorized", "sso-status", "sso-responded", "sso-too-far"),
)
#: SSO's: all but `sso-lost`, after which nobody has the login any more.
SSO_FAULTS = (
    *("sso-500", "sso-html", "sso-hang", "sso-dropped", "sso-no-token", "sso-unknown-400"),
    *("token-no-owner", "token-iss-wrong", "token-unknown-kid", "token-exp-past", "token-hs256", "token-aud-other"),
)
LEAST_NOT_MODIFIED = 0.8
MOST_REQUESTS = 1.02
#: The real time that a job may take, after it has waited for a thread: a machine that others use too is slow.
QUEUE_SECONDS = 4.0
#: A job that waits for longer says that the machine cannot do the work of an hour in this time.
TOO_SLOW_SECONDS = 30.0
LOOK_SECONDS = 0.5
LONG_SECONDS = 300.0
#: A higher factor than 36 would make 90 s for a refresh of a login, which runs in real time, too short.
SHORTEST_SECONDS = 33.0
#: On a machine that others use too.
IMPORT_SECONDS = 420.0


@dataclass(frozen=True)
class Plan:
    """The size of the proof; times are seconds of the sandbox's clock."""

    characters: int
    speed: float
    lasts_s: float
    errors_at_s: tuple[float, float]
    downtime: tuple[float, float]
    sso_away: tuple[float, float]
    #: How many logins the player revokes, and when.
    kills: int = 0
    kills_at_s: float = 0.0


def plan(seconds: float) -> Plan:
    """Return the hour, or its short form."""
    if seconds >= LONG_SECONDS:
        return Plan(50, 3_600 / seconds, 3_600, (480, 2_880), (1_200, 240), (2_000, 300), kills=2, kills_at_s=300)
    # Access tokens of the import end while SSO is away.
    return Plan(6, 1_200 / max(seconds, SHORTEST_SECONDS), 1_200, (120, 1_080), (300, 120), (840, 120))


def conduct(draw: random.Random, seconds: float) -> str:
    """Let ESI and SSO have trouble for an hour; nothing may be frowned on, late, failed or lost."""
    planned, seed = plan(seconds), draw.randrange(1_000)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        with (
            Sandbox(directory, characters=planned.characters, seed=seed, start=START, speed=planned.speed) as sandbox,
            FastSystem(directory, sandbox) as system,
        ):
            return run(planned, sandbox, system)


def run(planned: Plan, sandbox: Sandbox, system: FastSystem) -> str:
    """Run the proof on a started system."""
    characters = system.log_in()
    expected = len(characters) * len(ROUTES)
    wait_until(
        lambda: _collected(system) >= expected, timeout_seconds=IMPORT_SECONDS, what="the first data of every route"
    )
    imported_s = (system.clock.now_ms() - _first_request_ms(sandbox)) / 1000
    killed = frozenset(each.character_id for each in characters[: planned.kills])
    began_ms = system.clock.now_ms()
    sandbox.post("script", {"steps": list(_steps(planned, killed))})
    ages = DataAges(list(_outages(planned, began_ms)), killed)
    longest_wait_s = 0.0
    while system.clock.now_ms() < began_ms + planned.lasts_s * 1000:
        longest_wait_s = max(longest_wait_s, _waiting_s(system))
        ages.queue_ms = (QUEUE_SECONDS + longest_wait_s) * 1000 * planned.speed
        ages.look(system.app.store, system.clock.now_ms())
        time.sleep(LOOK_SECONDS)
    assert longest_wait_s < TOO_SLOW_SECONDS, f"too slow for this speed: a job waited for {longest_wait_s:.0f} s"
    problems = [*_misconduct(sandbox), *_old(ages), *_failed(system, killed), *_lost(sandbox, system, killed)]
    counters = sandbox.get("counters")
    problems += _wasted(counters)
    assert not problems, "\n    ".join([_summary(planned, counters, ages, imported_s), *problems])
    return _summary(planned, counters, ages, imported_s)


def _waiting_s(system: FastSystem) -> float:
    """Return for how many seconds of real time the first job waits for a thread."""
    return (system.app.queues.get_queue("esi-refresh").snapshot(window_seconds=0).oldest_waiting_ms or 0) / 1000


def _first_request_ms(sandbox: Sandbox) -> float:
    return float(sandbox.get("requests")[0]["at_ms"])


def _collected(system: FastSystem) -> int:
    query = sa.select(sa.func.count()).select_from(sync_state).where(sync_state.c.synced_ms.is_not(None))
    with system.app.store.database.read() as connection:
        return int(connection.execute(query).scalar_one())


def _steps(planned: Plan, killed: frozenset[int]) -> Iterator[dict[str, Any]]:
    for kinds, path in ((ESI_FAULTS, "/characters/*"), (SSO_FAULTS, "/v2/oauth/token")):
        for kind in kinds:
            fault = {"kind": kind, "path": path, "share": SHARE / len(kinds)}
            yield {"at_s": 0, "for_s": planned.lasts_s, "fault": fault}
    for at_s in planned.errors_at_s:
        yield {"at_s": at_s, "exhaust_errors": True}
    for service, (at_s, for_s) in (("esi", planned.downtime), ("sso", planned.sso_away)):
        yield {"at_s": at_s, "for_s": for_s, "downtime": service}
    for character_id in sorted(killed):
        yield {"at_s": planned.kills_at_s, "kill": character_id, "kind": "dead-expired"}


def _outages(planned: Plan, began_ms: float) -> Iterator[Outage]:
    # The last probe of ESI may be a minute late, and requests start slowly for another one; that of SSO may be late by
    # as long as SSO was away.
    (down_s, down_for_s), (away_s, away_for_s) = planned.downtime, planned.sso_away
    stops = [(at_s, at_s + 60 + 60) for at_s in planned.errors_at_s]
    for from_s, until_s in [*stops, (down_s, down_s + down_for_s + 120), (away_s, away_s + 2 * away_for_s)]:
        yield Outage(began_ms + from_s * 1000, began_ms + until_s * 1000)


def _misconduct(sandbox: Sandbox) -> Iterator[str]:
    record = sandbox.get("conduct")
    for reason in record["reasons"]:
        yield f"{reason['count']} × {reason['reason']}: {reason['rule']}"
        same = [each for each in record["violations"] if each["reason"] == reason["reason"]]
        for each in same[:5]:
            asked = f"{each['method']} {each['path']} {each['query'] or ''}"
            yield f"    {each['at_ms']} {asked} {each['status']}: {each['detail']}"


def _old(ages: DataAges) -> Iterator[str]:
    by_route = Counter(route for route, _ in ages.too_old)
    for name, count in by_route.items():
        example = next(text for (route, _), text in ages.too_old.items() if route == name)
        yield f"old data of {count} characters, such as {example}"


def _failed(system: FastSystem, killed: frozenset[int]) -> Iterator[str]:
    for name in system.app.queues.names():
        failed = system.app.queues.get_queue(name).jobs("failed", 0, 999)
        for job in failed:
            if job.data.get("character_id") not in killed:
                yield f"job {job.id} failed: {job.failed_reason}"


def _lost(sandbox: Sandbox, system: FastSystem, killed: frozenset[int]) -> Iterator[str]:
    valid = {each["character_id"]: each["refresh_token"] for each in sandbox.get("logins")}
    for character_id, token in valid.items():
        login = system.app.store.logins.get(character_id)
        assert login is not None
        if character_id in killed:
            if login.state == ACTIVE:
                yield f"the login of {character_id} was revoked, and nobody has noticed"
        elif login.state != ACTIVE:
            yield f"the login of {character_id} is lost: {login.state_reason}"
        elif login.refresh_token != token:
            yield f"the login of {character_id} is lost: its refresh token is not the valid one"


def _wasted(counters: dict[str, Any]) -> Iterator[str]:
    share, sent, fewest = _shares(counters)
    if share < LEAST_NOT_MODIFIED:
        yield f"only {share:.1%} of the answers to unchanged documents were 304"
    if sent > fewest * MOST_REQUESTS:
        yield f"{sent} requests were sent, {sent / fewest:.1%} of the fewest possible"


def _shares(counters: dict[str, Any]) -> tuple[float, int, int]:
    requests = counters["esi_requests"]
    return counters["unchanged"]["share"] or 0.0, requests["sent"], requests["fewest"]


def _summary(planned: Plan, counters: dict[str, Any], ages: DataAges, imported_s: float) -> str:
    share, sent, fewest = _shares(counters)
    statuses: Counter[int] = Counter()
    for each in counters["requests"]:
        statuses[each["status"]] += each["count"]
    bad = sum(count for status, count in statuses.items() if status >= 400)
    latest = max(ages.late_ms, key=lambda route: ages.late_ms[route])
    return (
        f"{planned.characters} characters, {planned.lasts_s / 60:g} min at {planned.speed:g} times the speed after an "
        f"import of {imported_s:.0f} s; {sent} requests to ESI ({sent / fewest - 1:.2%} more than the fewest), "
        f"{bad} answered 4XX or 5XX; {share:.1%} of the unchanged were 304; "
        f"latest: {latest}, {ages.late_ms[latest] / 1000:.0f} s after its interval"
    )
