"""How old each route's data may be: its interval, what jitter and queues add, and the outages while they last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from nomad_actors.esi import ROUTES
from nomad_actors.store import Store
from nomad_actors.store.schema import characters, sync_state

#: The share of the interval over which refreshes are spread.
JITTER_SHARE = 0.1
#: A faulty answer costs ten seconds, or a minute after a 429, and twice that if the next one is faulty too. Only routes
#: whose last attempt failed may take that long.
FAULT_SECONDS = 150.0
#: Where a player who has been offline for a day is, and in what ship, is asked this much less often.
RESTS_AFTER_MS, REST_FACTOR = 86_400_000, 10
_AGES = (
    sa.select(
        *(sync_state.c.character_id, sync_state.c.route, sync_state.c.synced_ms, sync_state.c.error),
        characters.c.offline_since_ms,
    )
    .join(characters, characters.c.character_id == sync_state.c.character_id)
    .where(sync_state.c.synced_ms.is_not(None))
)


@dataclass(frozen=True)
class Outage:
    """A time in which nothing, or nothing of some characters, could be refreshed, in ms of the sandbox's clock.

    A brake ends with a probe, whose distance doubles: it may stop requests for as long again as the outage lasted, but
    for at most a minute after ESI's.
    """

    from_ms: float
    until_ms: float

    def overlap_ms(self, from_ms: float, until_ms: float) -> float:
        """Return for how long it was in force between two times."""
        return max(0.0, min(until_ms, self.until_ms) - max(from_ms, self.from_ms))


@dataclass
class DataAges:
    """The oldest data that was seen of each route, against what is allowed."""

    outages: Sequence[Outage]
    #: Characters whose data may be of any age.
    ignored: frozenset[int] = frozenset()
    #: How late a job may start and end, in ms of the sandbox's clock.
    queue_ms: float = 0.0
    #: The worst of each route: ms beyond the interval and the outages.
    late_ms: dict[str, float] = field(default_factory=dict)
    too_old: dict[tuple[str, int], str] = field(default_factory=dict)
    #: Since when players are online, or seen at all: their data may be as old as it was while they rested.
    _online_ms: dict[int, float] = field(default_factory=dict)

    def look(self, store: Store, now_ms: float) -> None:
        """Compare the age of all data with what is allowed."""
        with store.database.read() as connection:
            rows = connection.execute(_AGES).all()
        for character_id, *row, offline_ms in rows:
            if _rests(offline_ms, now_ms):
                self._online_ms.pop(character_id, None)
            else:
                self._online_ms.setdefault(character_id, now_ms)
            if character_id not in self.ignored:
                self._compare(character_id, *row, now_ms)

    def _compare(self, character_id: int, route: str, synced_ms: int, error: str | None, now_ms: float) -> None:
        rests_offline, online_ms = ROUTES[route].rests_offline, self._online_ms.get(character_id)
        interval_ms = (
            ROUTES[route].interval_seconds * 1000 * (REST_FACTOR if rests_offline and online_ms is None else 1)
        )
        due_ms = synced_ms + interval_ms
        if rests_offline and online_ms is not None:
            due_ms = max(due_ms, online_ms)
        late_ms = now_ms - due_ms - sum(outage.overlap_ms(synced_ms, now_ms) for outage in self.outages)
        self.late_ms[route] = max(late_ms, self.late_ms.get(route, 0.0))
        slack_ms = ROUTES[route].interval_seconds * 1000 * JITTER_SHARE + self.queue_ms
        if late_ms > slack_ms + (FAULT_SECONDS * 1000 if error else 0):
            self.too_old[route, character_id] = (
                f"{route} of {character_id} is {(now_ms - synced_ms) / 1000:.0f} s old, {late_ms / 1000:.0f} s later "
                f"than every {interval_ms / 1000:.0f} s; error: {error}"
            )


def _rests(offline_ms: int | None, now_ms: float) -> bool:
    """Return whether a player has been offline for so long that some routes are requested less often."""
    return offline_ms is not None and now_ms - offline_ms > RESTS_AFTER_MS
