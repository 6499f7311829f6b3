"""Reads queues, schedules, Redis and the database for a scrape of the admin, as metrics (docs/metrics.md).

The cost grows with queues, schedules, running jobs and characters, never with the number of kept jobs. Every family is
built anew for each scrape, so removed objects leave no series. An unknown value is left out: unknown is not zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ..broker import JobBroker
from ..broker.client.server import ServerFacts
from ..broker.client.slots import Slot
from ..broker.endings import Outcome
from ..broker.records.stats import UNKNOWN_ACTOR, Totals
from ..clock import Clock
from ..esi import ROUTES, dataset_of
from ..esi.limits import Limiter
from ..esi.spec_check import read_check
from ..metrics.definitions import REGISTRY
from ..metrics.exposition import ScrapeCollector, gauge, joined
from ..queues import Queues
from ..queues.across_queues import read_snapshots
from ..queues.overruns import read_overruns
from ..queues.snapshot import QueueSnapshot, readable
from ..scheduler import status
from ..scheduler.changes import ScheduleState
from ..store import Store
from ..store.route_status import count_late, count_refusals
from ..store.set_aside import SetAsideRows, set_aside_now
from .esi_families import data_families, limits_families
from .history import history_families
from .queue_families import queue_families
from .stale_routes import moment

#: Prometheus waits ten seconds for the scrape; a slower Redis counts as unreadable.
REDIS_SECONDS: Final = 5.0


def scraped(broker: JobBroker, queues: Queues, store: Store, limiter: Limiter, clock: Clock) -> CollectorRegistry:
    """Return the metrics of this process and those that each scrape reads from Redis and the database.

    Only the admin exports the latter: they must not be summed over several admins.
    """
    sources = {
        "redis": lambda: [
            *families_of_redis(broker, queues, clock),
            *limits_families(limiter.state(), read_check(limiter.client), clock.now_ms()),
        ],
        "database": lambda: families_of_database(store, clock),
    }
    return joined(REGISTRY, ScrapeCollector(sources))


def families_of_redis(broker: JobBroker, queues: Queues, clock: Clock) -> list[Metric]:
    """Return the metrics that are read from Redis; raises `Unavailable` if it does not answer in time."""
    with broker.within(REDIS_SECONDS):
        server, snapshots = broker.server(), readable(read_snapshots(queues))
        overruns, attempts = read_overruns(queues, snapshots), _attempts(broker, snapshots)
        scheduler = status.read_scheduler(queues)
    return [*queue_families(snapshots, overruns, attempts), *schedule_families(scheduler), *server_families(server)]


def families_of_database(store: Store, clock: Clock) -> Iterable[Metric]:
    """Return the metrics that are read from the database; raises `Unavailable`."""
    now = moment(clock)
    scopes = {name: route.scopes for name, route in ROUTES.items()}
    return [
        *database_families(store.logins.counts(), store.documents.oldest_synced_ms(), now.now_ms),
        *data_families(
            count_late(store.database, now, scopes),
            count_refusals(store.database, now.now_ms),
            store.logins.count_rejected(),
        ),
        set_aside_family(set_aside_now(store.database)),
        *history_families(store.database, clock),
    ]


def schedule_families(scheduler: status.SchedulerSnapshot) -> Iterable[Metric]:
    """Return the metrics of the schedules and the schedulers."""
    enabled = gauge("nomad_schedule_enabled", "Whether the schedule is on.", "schedule")
    success = gauge(
        "nomad_schedule_last_success_timestamp_seconds",
        "When a job of the schedule last completed; missing until one completed.",
        "schedule",
    )
    due = gauge(
        "nomad_schedule_start_due_timestamp_seconds",
        "The schedule's first slot that has not started (in the past: overdue); missing while the schedule is off.",
        "schedule",
    )
    success_due = gauge(
        "nomad_schedule_success_due_timestamp_seconds",
        "When the schedule's second run since its last success is due; missing while the schedule is off.",
        "schedule",
    )
    missed = CounterMetricFamily(
        "nomad_schedule_missed_total", "Slots of the schedule that got no job.", labels=["schedule"]
    )
    schedulers = gauge(
        "nomad_schedulers", "Schedulers with a recent heartbeat (live), and those without (silent).", "state"
    )
    for each in sorted(scheduler.schedules, key=lambda each: each.state.schedule.name):
        name = each.state.schedule.name
        missed.add_metric([name], each.state.stored.missed)
        enabled.add_metric([name], each.running)
        second_run_ms = success_due_ms(each.state, each.slots, each.last_success_ms)
        for family, ms in ((success, each.last_success_ms), (due, each.start_due_ms()), (success_due, second_run_ms)):
            if ms is not None:
                family.add_metric([name], ms / 1000)
    live = [status.is_live(sign) for sign in scheduler.schedulers]
    schedulers.add_metric(["live"], live.count(True))
    schedulers.add_metric(["silent"], live.count(False))
    return enabled, success, due, success_due, missed, schedulers


def server_families(server: ServerFacts) -> Iterable[Metric]:
    """Return the metrics of Redis itself."""
    memory, limit = "Memory that Redis uses.", "Memory that Redis may use; 0 means no limit."
    persistence = "Whether Redis writes jobs to disk and the last write succeeded."
    return [
        GaugeMetricFamily("nomad_redis_memory_bytes", memory, value=server.used_memory_bytes),
        GaugeMetricFamily("nomad_redis_memory_limit_bytes", limit, value=server.max_memory_bytes),
        GaugeMetricFamily("nomad_redis_persistence_ok", persistence, value=server.persists),
    ]


def database_families(logins: Mapping[str, int], synced_ms: Mapping[str, int], now_ms: int) -> Iterable[Metric]:
    """Return the metrics of the database, from the number of logins by state and the oldest sync of each route."""
    characters = gauge("nomad_characters", "Characters by the state of their login.", "status")
    for state, count in logins.items():
        characters.add_metric([state], count)
    ages = gauge("nomad_data_age_seconds", "Age of the data of the active character whose data is oldest.", "dataset")
    for route, at_ms in sorted(synced_ms.items()):
        ages.add_metric([dataset_of(route)], max(0.0, (now_ms - at_ms) / 1000))
    return characters, ages


def set_aside_family(found: Iterable[SetAsideRows]) -> Metric:
    """Return how many rows of the current documents are set aside, by route."""
    family = gauge("nomad_set_aside_rows", "Rows of the current documents that could not be stored.", "dataset")
    for each in found:
        family.add_metric([dataset_of(each.route)], each.rows)
    return family


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
