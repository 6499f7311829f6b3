"""Reads the state of queues, schedules, Redis and the database for a scrape of the admin.

The cost grows with queues, schedules, running jobs and characters, never with the number of kept jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from ..broker import JobBroker
from ..broker.client.server import ServerFacts
from ..broker.client.slots import Slot
from ..broker.endings import Outcome
from ..broker.records.stats import UNKNOWN_ACTOR, Totals
from ..clock import Clock
from ..metrics.collector import ScrapeCollector
from ..metrics.definitions import REGISTRY
from ..metrics.exposition import joined
from ..metrics.readings import DatabaseReading, RedisReading, ScheduleReading, database_families, redis_families
from ..queues import Queues
from ..queues.across_queues import read_snapshots
from ..queues.overruns import read_overruns
from ..queues.snapshot import QueueSnapshot, readable
from ..scheduler import status
from ..scheduler.changes import ScheduleState
from ..store import Store
from .queue_families import queue_families

#: Prometheus waits ten seconds for the scrape; a slower Redis counts as unreadable.
REDIS_SECONDS: Final = 5.0


def scraped(broker: JobBroker, queues: Queues, store: Store, clock: Clock) -> CollectorRegistry:
    """Return the metrics of this process and those that each scrape reads from Redis and the database.

    Only the admin exports the latter: they must not be summed over several admins.
    """
    sources = {
        "redis": lambda: families_of_redis(broker, queues, clock),
        "database": lambda: database_families(read_database(store, clock)),
    }
    return joined(REGISTRY, ScrapeCollector(sources))


def families_of_redis(broker: JobBroker, queues: Queues, clock: Clock) -> list[Metric]:
    """Return the metrics of the queues, the schedules and Redis itself, read in a few round trips.

    Raises `Unavailable` if Redis does not answer in time.
    """
    with broker.within(REDIS_SECONDS):
        server, snapshots = broker.server(), readable(read_snapshots(queues))
        overruns, attempts = read_overruns(queues, snapshots), _attempts(broker, snapshots)
        scheduler = status.read_scheduler(queues, clock)
    return [*queue_families(snapshots, overruns, attempts), *redis_families(redis_reading(server, scheduler))]


def redis_reading(server: ServerFacts, scheduler: status.SchedulerSnapshot) -> RedisReading:
    """Return the readings of the schedules and of Redis itself."""
    live = [status.is_live(sign) for sign in scheduler.schedulers]
    return RedisReading(
        schedules={
            each.state.schedule.name: ScheduleReading(
                enabled=each.running,
                last_success_seconds=_seconds(each.last_success_ms),
                start_due_seconds=_seconds(each.start_due_ms()),
                success_due_seconds=_seconds(success_due_ms(each.state, each.slots, each.last_success_ms)),
                missed=each.state.stored.missed,
            )
            for each in scheduler.schedules
        },
        schedulers={"live": live.count(True), "silent": live.count(False)},
        memory_bytes=server.used_memory_bytes,
        memory_limit_bytes=server.max_memory_bytes,
        persistence_ok=server.persists,
    )


def read_database(store: Store, clock: Clock) -> DatabaseReading:
    """Read the states of the logins and the age of the data.

    Raises `Unavailable` if the database does not answer.
    """
    now_ms = clock.now_ms()
    synced_ms = store.documents.oldest_synced_ms()
    return DatabaseReading(
        characters=store.logins.counts(),
        data_age_seconds={route: max(0.0, (now_ms - at_ms) / 1000) for route, at_ms in synced_ms.items()},
    )


def _attempts(broker: JobBroker, queues: Sequence[QueueSnapshot]) -> dict[str, Totals]:
    # With a zero for each outcome that no run had: a first failure must be an increase.
    totals = broker.totals(queue.name for queue in queues)
    return {queue: _zeros(broker, queue) | dict(found) for queue, found in totals.items()}


def _zeros(broker: JobBroker, queue: str) -> dict[tuple[str, str], int]:
    actors = [actor.actor_name for actor in broker.actors.values() if actor.queue_name == queue]
    return {(actor, outcome.value): 0 for actor in [*actors, UNKNOWN_ACTOR] for outcome in Outcome}


def success_due_ms(state: ScheduleState, slots: Sequence[Slot], last_success_ms: int | None) -> int | None:
    """Return when a schedule's second run since its last success is or was due; None for a schedule that is off.

    Slots while the schedule was off, or had another calendar, do not count.
    """
    if not state.schedule.enabled:
        return None
    since_ms = last_success_ms or 0
    runs = sorted(slot.due_ms for slot in slots if slot.kind is None and slot.due_ms > since_ms)[:2]
    after_ms = max(since_ms, state.stored.watermark_ms)
    while len(runs) < 2:
        runs.append(next(state.schedule.due_ms_after(max([after_ms, *runs]))))
    return runs[1]


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000
