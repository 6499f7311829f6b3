"""5,000 characters at our intervals, simulated second by second over the real due times: no spikes, nothing late.

The simulation has the sandbox's freshness and the fleet's limit of requests under way, and serves jobs in the order of
their due times, as the queue does: everybody's import at once, the time after it, an outage in which everybody is
deferred, and the time after that.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from nomad_actors.esi import ROUTES, Route
from nomad_actors.esi.limits.limiter import CONCURRENCY, USERS_SHARE
from nomad_actors.esi.response import SLACK_SECONDS
from nomad_actors.jobs.due_times import next_due_ms
from sandbox.routes import ROUTES as SANDBOX_ROUTES

CHARACTERS = 5_000
#: ESI answers quickly, after 50 ms: a slower one hides spikes. What users ask for keeps its share.
REQUESTS_PER_SECOND = int(CONCURRENCY * (1 - USERS_SHARE) / 0.05)
#: The routes of an hour come twice before the outage and once after it.
OUTAGE = range(5_400, 6_000)
END = 9_000
#: A job that a brake stops comes back within a minute after its end, and requests start slowly for another one.
RETURN_SECONDS = RAMP_SECONDS = 60
#: How long after the first second of the import, and after the outage, everything is in time again.
RECOVERY_SECONDS = 600
STEADY = (range(1_800, OUTAGE.start), range(OUTAGE.stop + RECOVERY_SECONDS, END))
#: What may be late, and by what share of its interval: the spread of its due times.
SLACK_SHARE = 0.1
_FRESH_SECONDS = {route.name: route.cache_seconds for route in SANDBOX_ROUTES}

Pair = tuple[int, Route]


@dataclass
class Fleet:
    """What is due when, what waits for its turn, and what was sent in each second."""

    #: In the second when each comes back: its due time and what it is.
    due: list[list[tuple[int, Pair]]] = field(default_factory=lambda: [[] for _ in range(END)])
    sent: list[int] = field(default_factory=lambda: [0] * END)
    #: The latest in each second, as the share of its interval.
    late: list[float] = field(default_factory=lambda: [0.0] * END)
    _waiting: deque[tuple[int, Pair]] = field(default_factory=deque)

    def run(self, draw: random.Random) -> None:
        for second in range(END):
            if second in OUTAGE:
                for each in self.due[second]:
                    self.due[OUTAGE.stop + draw.randrange(RETURN_SECONDS)].append(each)
                continue
            self._waiting.extend(self.due[second])
            for _ in range(min(_room(second), len(self._waiting))):
                self._send(second, *self._waiting.popleft())

    def _send(self, second: int, due_s: int, pair: Pair) -> None:
        character_id, route = pair
        self.sent[second] += 1
        self.late[second] = max(self.late[second], (second - due_s) / route.interval_seconds)
        fresh_until_ms = (second + _FRESH_SECONDS[route.name] + SLACK_SECONDS) * 1000
        next_s = next_due_ms(route, character_id, fresh_until_ms=fresh_until_ms, now_ms=second * 1000) // 1000
        if next_s < END:
            self.due[next_s].append((next_s, pair))


def _room(second: int) -> int:
    since_s = second - OUTAGE.stop
    return REQUESTS_PER_SECOND * since_s // RAMP_SECONDS if 0 <= since_s < RAMP_SECONDS else REQUESTS_PER_SECOND


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.due[0] = [(0, (number, route)) for number in range(CHARACTERS) for route in ROUTES.values()]
    fleet.run(random.Random(1))
    return fleet


@pytest.mark.slow
@pytest.mark.parametrize("steady", STEADY, ids=("after the import", "after an outage"))
def test_no_second_has_twice_the_mean_and_nothing_is_late(fleet: Fleet, steady: range) -> None:
    sent = fleet.sent[steady.start : steady.stop]
    mean = sum(sent) / len(sent)
    assert mean > CHARACTERS / 50, "the simulation does not refresh"
    assert max(sent) <= 2 * mean, f"{max(sent)} in one second, {mean:.0f} on average"
    late = max(fleet.late[steady.start : steady.stop])
    assert late <= SLACK_SHARE, f"something was late by {late:.0%} of its interval"
