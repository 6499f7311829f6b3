"""How old each route's data may be: its interval, what jitter and queues add, and the outages while they last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from nomad_actors.esi import ROUTES
from nomad_actors.store import Store
from nomad_actors.store.schema import sync_state

#: The share of the interval over which refreshes are spread.
JITTER_SHARE = 0.1
#: A faulty answer costs ten seconds, or a minute after a 429, and twice that if the next one is faulty too. Only routes
#: whose last attempt failed may take that long.
FAULT_SECONDS = 150.0


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
    too_old: dict[tuple[int, str], str] = field(default_factory=dict)
    samples: int = 0

    def look(self, store: Store, now_ms: float) -> None:
        """Compare the age of all data with what is allowed."""
        with store.database.read() as connection:
            rows = connection.execute(
                sa.select(
                    sync_state.c.character_id, sync_state.c.route, sync_state.c.synced_ms, sync_state.c.error
                ).where(sync_state.c.synced_ms.is_not(None))
            ).all()
        self.samples += 1
        for character_id, route, synced_ms, error in rows:
            if character_id not in self.ignored:
                self._compare(character_id, route, synced_ms, now_ms, error)

    def _compare(self, character_id: int, route: str, synced_ms: int, now_ms: float, error: str | None) -> None:
        interval_ms = ROUTES[route].interval_seconds * 1000
        stopped_ms = sum(outage.overlap_ms(synced_ms, now_ms) for outage in self.outages)
        late_ms = now_ms - synced_ms - interval_ms - stopped_ms
        self.late_ms[route] = max(late_ms, self.late_ms.get(route, 0.0))
        slack_ms = interval_ms * JITTER_SHARE + self.queue_ms + (FAULT_SECONDS * 1000 if error else 0)
        if late_ms > slack_ms:
            self.too_old[character_id, route] = (
                f"{route} of {character_id} is {(now_ms - synced_ms) / 1000:.0f} s old, {late_ms / 1000:.0f} s later "
                f"than every {interval_ms / 1000:.0f} s; error: {error}"
            )
