"""What a scrape of the admin reads: how the queues, schedules and Redis stand, and what the database holds.

Its cost grows with queues, schedules, running jobs and characters, never with the number of jobs that are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from prometheus_client import CollectorRegistry

from ..broker import JobBroker
from ..broker.client.slots import Slot
from ..broker.client.standings import Standing as QueueStanding
from ..broker.client.totals import UNKNOWN_ACTOR, Totals
from ..broker.endings import Outcome
from ..clock import Clock
from ..metrics.collector import ScrapeCollector
from ..metrics.definitions import REGISTRY
from ..metrics.exposition import joined
from ..metrics.readings import (
    DatabaseReading,
    QueueReading,
    RedisReading,
    ScheduleReading,
    database_families,
    redis_families,
)
from ..queues import Queues
from ..queues.job_type import Priority
from ..queues.queue import Queue, redis_errors, standing_of
from ..scheduler import status
from ..scheduler.book import Standing
from ..store import Store

#: Prometheus waits ten seconds for all of it; a Redis that needs longer than this cannot be read.
REDIS_SECONDS: Final = 5.0


def scraped(broker: JobBroker, queues: Queues, store: Store, clock: Clock) -> CollectorRegistry:
    """Return what this process counts and, read at each scrape, what Redis and the database hold.

    For the admin alone: it is not summed over several of them, as what other services count is.
    """
    sources = {
        "redis": lambda: redis_families(read_redis(broker, queues, clock)),
        "database": lambda: database_families(read_database(store, clock)),
    }
    return joined(REGISTRY, ScrapeCollector(sources))


def read_redis(broker: JobBroker, queues: Queues, clock: Clock) -> RedisReading:
    """Read how the queues, the schedules and Redis itself stand, in a few round trips however many queues there are.

    Raises `Unavailable` when Redis does not answer, or not in time.
    """
    with redis_errors(), broker.within(REDIS_SECONDS):
        return _read_redis(broker, queues, clock)


def _read_redis(broker: JobBroker, queues: Queues, clock: Clock) -> RedisReading:
    server, standings = broker.server().facts(), broker.standings(queues.names())
    totals = broker.totals(standings)
    return RedisReading(
        queues={
            name: _queue(queues.get_queue(name), standing, _attempts(broker, name, totals[name]))
            for name, standing in standings.items()
        },
        schedules={
            told.standing.schedule.name: ScheduleReading(
                enabled=told.running,
                last_success_seconds=_seconds(told.last_success_ms),
                start_due_seconds=_seconds(told.start_due_ms()),
                success_due_seconds=_seconds(success_due_ms(told.standing, told.slots, told.last_success_ms)),
                missed=told.standing.stored.missed,
            )
            for told in status.read_all(queues, clock)
        },
        schedulers=_schedulers(queues),
        memory_bytes=server.used_memory_bytes,
        memory_limit_bytes=server.max_memory_bytes,
        persistence_ok=server.persists,
    )


def read_database(store: Store, clock: Clock) -> DatabaseReading:
    """Read how the logins stand and how old the data is.

    Raises `Unavailable` when the database does not answer.
    """
    now_ms = clock.now_ms()
    synced_ms = store.documents.oldest_synced_ms()
    return DatabaseReading(
        characters=store.character_counts(),
        data_age_seconds={route: max(0.0, (now_ms - at_ms) / 1000) for route, at_ms in synced_ms.items()},
    )


def _queue(queue: Queue, read: QueueStanding, attempts: Totals) -> QueueReading:
    standing = standing_of(read.counts, read.ages)
    paused_since_ms = min((pause.since_ms for pause in standing.pauses), default=None)
    overruns = queue.overruns_beside(standing.longest_active_ms)
    return QueueReading(
        jobs=standing.counts,
        oldest_waiting_seconds={
            priority.name: standing.oldest_waiting_ms.get(priority, 0.0) / 1000 for priority in Priority
        },
        longest_active_seconds=(standing.longest_active_ms or 0.0) / 1000,
        overtime_seconds=max((overrun.over_ms for overrun in overruns), default=0) / 1000,
        paused_since_seconds=_seconds(paused_since_ms),
        workers=len(read.workers),
        recovered=standing.recovered,
        poison=standing.poison,
        attempts=attempts,
        clock_offset_seconds=read.counts.clock_offset_ms / 1000,
    )


def _attempts(broker: JobBroker, queue: str, totals: Totals) -> Totals:
    """Return the totals with a zero for each outcome that no run had yet: a first failure must show as an increase."""
    actors = [actor.actor_name for actor in broker.actors.values() if actor.queue_name == queue]
    return {(actor, outcome.value): 0 for actor in [*actors, UNKNOWN_ACTOR] for outcome in Outcome} | dict(totals)


def success_due_ms(standing: Standing, slots: Sequence[Slot], last_success_ms: int | None) -> int | None:
    """Return when a schedule's second run since its last success is or was due; None for a schedule that is off.

    It counts the runs that there were: what was due while the schedule was off, or had another calendar, was none.
    """
    if not standing.schedule.enabled:
        return None
    since_ms = last_success_ms or 0
    runs = sorted(slot.due_ms for slot in slots if slot.kind is None and slot.due_ms > since_ms)[:2]
    after_ms = max(since_ms, standing.stored.watermark_ms)
    while len(runs) < 2:
        due = standing.schedule.next_due(datetime.fromtimestamp(max([after_ms, *runs]) / 1000, UTC))
        runs.append(int(due.timestamp() * 1000))
    return runs[1]


def _schedulers(queues: Queues) -> Mapping[str, int]:
    live = [status.is_live(sign) for sign in status.signs(queues)]
    return {"live": live.count(True), "silent": live.count(False)}


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000
