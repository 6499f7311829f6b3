"""The thresholds of queues and schedules as queries, limits and text."""

from __future__ import annotations

from nomad_actors.thresholds import Table

from ..alerts.promql import newest, selector
from . import queries
from .limits import NONE, Limits, beyond, in_words


def failed_share(table: Table, by: str, *matchers: str) -> str:
    """Return the failed share of ended jobs over health's window; no value if too few ended."""
    normal = table.default
    return queries.failed_share(by, normal.failure_window_seconds, normal.failure_least_ended, *matchers)


def budget_burn(table: Table, window_seconds: float, *matchers: str) -> str:
    """Return the burn rate of the error budget, by queue; no value if too few jobs ended."""
    budget = round(1 - table.alerts.completion_objective_percent / 100, 9)
    return f"{queries.failed_share('queue', window_seconds, table.alerts.burn_least_ended, *matchers)} / {budget:g}"


def oldest_of_promise(table: Table) -> str:
    """Return how long each queue's first waiting job has been due, as a share of the queue's limit.

    Paused queues are left out, because their jobs wait on purpose.
    """
    shares = queries.of_limit(
        lambda matcher: newest("queue", "nomad_queue_oldest_waiting_seconds", queries.QUEUE, matcher),
        "queue",
        {name: queue.oldest_waiting_seconds for name, queue in table.by_queue.items()},
        table.default.oldest_waiting_seconds,
    )
    return f"({shares}) unless on (queue) {newest('queue', 'nomad_queue_paused', queries.QUEUE)} == 1"


def promises(table: Table) -> str:
    """Return as text how long the first job of a queue may wait."""
    others = [f"{name} {in_words(queue.oldest_waiting_seconds)}" for name, queue in table.by_queue.items()]
    return ", ".join([in_words(table.default.oldest_waiting_seconds), *others])


def judged_by_drain(table: Table) -> list[str]:
    """Return the queues whose alert uses the time to drain, not the number of waiting jobs."""
    return [name for name, queue in table.by_queue.items() if queue.drain_seconds is not None]


def drain_limits(table: Table) -> Limits:
    """Return the shortest limit of the time to drain."""
    allowed = [queue.drain_seconds for queue in table.by_queue.values() if queue.drain_seconds is not None]
    return beyond(min(allowed)) if allowed else NONE


def waiting_limits(table: Table) -> Limits:
    """Return the limit of waiting jobs in a queue."""
    return NONE if table.default.waiting_jobs is None else beyond(table.default.waiting_jobs)


def success_graces(table: Table) -> str:
    """Return as text how long after that run's time a success is expected."""
    alerts = table.alerts
    others = [f"{name} {in_words(grace)}" for name, grace in alerts.success_grace_by_schedule_seconds.items()]
    return ", ".join([*others, f"others {in_words(alerts.success_grace_seconds)}"])


def of_scheduler(name: str) -> str:
    """Return a gauge that schedulers export, by scheduler."""
    series = selector(name, 'job="scheduler"')
    return f"max by (instance) ({series})"
