"""5,000 characters at our intervals, simulated second by second over the real due times: no spikes, nothing late.

Everybody logs in at once; after four hours ESI is away for ten minutes, and everybody is deferred. The simulation has
the sandbox's freshness and the fleet's limit of requests under way, and serves jobs in the order of their due times, as
the queue does. The short form has a tenth of the characters and of the fleet, and counts ten seconds as one.

What began together drifts apart by a tenth of its interval each time. So steady is the hour that begins three hours
after the logins, and the one that begins 70 minutes after the outage. Without the spread of the due times, both have
spikes.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from nomad_actors.esi import ROUTES, Route
from nomad_actors.esi.limits.limiter import CONCURRENCY, USERS_SHARE
from nomad_actors.esi.response import SLACK_SECONDS
from nomad_actors.jobs.due_times import next_due_ms
from sandbox.routes import ROUTES as SANDBOX_ROUTES

CHARACTERS, FEWER_CHARACTERS = 5_000, 500
SHORT_SECONDS = 10.0
#: ESI answers quickly, after 50 ms: a slower one lets no second have many. What users ask for keeps its share.
REQUESTS_PER_SECOND = CONCURRENCY * (1 - USERS_SHARE) / 0.05
OUTAGE = range(14_400, 15_000)
END = 22_800
#: A job that a brake stops comes back within a minute after its end, and requests start slowly for another one.
RETURN_SECONDS = RAMP_SECONDS = 60
STEADY = (range(10_800, OUTAGE.start), range(OUTAGE.stop + 4_200, END))
MOST_OF_MEAN = 2.0
#: What may be late, as a share of its interval: as much as its due times are spread.
SLACK_SHARE = 0.1
_FRESH_SECONDS = {route.name: route.cache_seconds for route in SANDBOX_ROUTES}

Pair = tuple[int, Route]


@dataclass
class Fleet:
    """What is due when, what waits for its turn, and what was sent in each second."""

    requests_per_second: float
    #: In the second when it comes to the queue: when each was due, and what it is.
    queued: list[list[tuple[int, Pair]]] = field(default_factory=lambda: [[] for _ in range(END)])
    due: list[int] = field(default_factory=lambda: [0] * END)
    #: The latest that was sent in each second, as the share of its interval.
    late: list[float] = field(default_factory=lambda: [0.0] * END)
    sent: int = 0
    _waiting: deque[tuple[int, Pair]] = field(default_factory=deque)

    def run(self, draw: random.Random) -> None:
        """Serve everything until the end."""
        for second in range(END):
            self.due[second] = len(self.queued[second])
            if second in OUTAGE:
                for each in self.queued[second]:
                    self.queued[OUTAGE.stop + draw.randrange(RETURN_SECONDS)].append(each)
                continue
            self._waiting.extend(self.queued[second])
            for _ in range(min(self._room(second), len(self._waiting))):
                self._send(second, *self._waiting.popleft())

    def _room(self, second: int) -> int:
        since_s = second - OUTAGE.stop
        ramp = since_s / RAMP_SECONDS if 0 <= since_s < RAMP_SECONDS else 1.0
        return int(self.requests_per_second * ramp)

    def _send(self, second: int, due_s: int, pair: Pair) -> None:
        character_id, route = pair
        self.sent += 1
        self.late[second] = max(self.late[second], (second - due_s) / route.interval_seconds)
        fresh_until_ms = (second + _FRESH_SECONDS[route.name] + SLACK_SECONDS) * 1000
        next_s = next_due_ms(route, character_id, fresh_until_ms=fresh_until_ms, now_ms=second * 1000) // 1000
        if next_s < END:
            self.queued[next_s].append((next_s, pair))


def many_characters(draw: random.Random, seconds: float) -> str:
    """Refresh many characters for three hours; no second may have twice the mean, and nothing may be late."""
    characters = FEWER_CHARACTERS if seconds < SHORT_SECONDS else CHARACTERS
    fleet = Fleet(REQUESTS_PER_SECOND * characters / CHARACTERS)
    fleet.queued[0] = [(0, (number, route)) for number in range(characters) for route in ROUTES.values()]
    fleet.run(draw)
    found = [_check(fleet, steady, CHARACTERS // characters) for steady in STEADY]
    return f"{characters} characters, {fleet.sent} requests in {END / 3600:g} h; {'; after the outage '.join(found)}"


def _check(fleet: Fleet, steady: range, step: int) -> str:
    due = [sum(fleet.due[second : second + step]) for second in range(steady.start, steady.stop, step)]
    mean, late = sum(due) / len(due), max(fleet.late[steady.start : steady.stop])
    found = f"{mean:.0f} due in a second on average, {max(due)} at most, the latest by {late:.1%} of its interval"
    assert max(due) <= MOST_OF_MEAN * mean, f"from second {steady.start}: {found}"
    assert late <= SLACK_SHARE, f"from second {steady.start}: {found}"
    return found
