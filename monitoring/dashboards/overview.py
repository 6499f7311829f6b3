"""The system at a glance: is it healthy, and if not, where is the problem."""

from __future__ import annotations

from nomad_actors.thresholds import Table

from ..alerts.promql import duration, newest, selector
from .dashboard import Dashboard, Row, Variable
from .limits import ANY_IS_A_WARNING, ANY_IS_WRONG, GREEN, ONE_IS_NEEDED, RED, beyond, in_words
from .overview_rows import (
    esi_row,
    jobs_row,
    memory_limits,
    memory_share,
    processes_row,
    queues_row,
    redis_row,
    times_row,
)
from .panels import Panel, stat
from .promises import failed_share, oldest_of_promise, promises
from .queries import QUEUE, seconds_since

#: Texts of a gauge whose 0 is a problem.
GOOD = {1: ("ok", GREEN), 0: ("failing", RED)}


def overview(table: Table) -> Dashboard:
    """Return the dashboard with the limits of the table."""
    return Dashboard(
        uid="nomad-overview",
        title="EVE Nomad: overview",
        description="The system at a glance: is it healthy, and if not, where is the problem.",
        variables=[Variable(name="queue", label="Queue", series="nomad_queue_jobs")],
        rows=[
            Row("Is it healthy?", [*_jobs_and_schedules(table), *_infrastructure(table)]),
            Row("Queues", queues_row(table)),
            Row("Jobs", jobs_row()),
            Row("Waits and durations", times_row()),
            Row("Redis and the collector", redis_row(table)),
            Row("ESI and logins", esi_row(table)),
            Row("Processes", processes_row()),
        ],
    )


def _jobs_and_schedules(table: Table) -> list[Panel]:
    limits = table.default
    window = in_words(limits.failure_window_seconds)
    since_due = seconds_since("schedule", "nomad_schedule_start_due_timestamp_seconds")
    return [
        stat(
            "Alerts firing",
            """Alerts that fire now. Without data, Prometheus has no rules, so no alert can fire.""",
            'count(ALERTS{alertstate="firing"}) or 0 * sum(prometheus_rule_group_rules)',
            limits=ANY_IS_WRONG,
        ),
        stat(
            "Workers up",
            "Worker processes that answered the last scrape. Without one, no job runs.",
            'sum(up{job="workers"})',
            limits=ONE_IS_NEEDED,
        ),
        stat(
            "Oldest waiting, of its promise",
            f"""How long the first waiting job has been due, as a share of its queue's limit
            ({promises(table)}), for the worst queue. Paused queues are left out.""",
            f"max({oldest_of_promise(table)})",
            unit="percentunit",
            limits=beyond(1),
        ),
        stat(
            f"Failed in {window}, worst queue",
            f"""Share of the jobs that ended in {window} that failed permanently, for the worst queue. Queues in which
            fewer than {limits.failure_least_ended} jobs ended are left out, as by the alert.""",
            f"max({failed_share(table, 'queue', QUEUE)})",
            unit="percentunit",
            limits=beyond(limits.failure_percent / 100),
            no_data=f"fewer than {limits.failure_least_ended} ended",
        ),
        stat(
            "Queues paused",
            "Queues that an operator paused. Their jobs wait.",
            f"sum({newest('queue', 'nomad_queue_paused', QUEUE)})",
            limits=ANY_IS_A_WARNING,
        ),
        stat(
            "Schedules overdue",
            f"""Schedules whose slot has not started {in_words(table.alerts.late_start_seconds)} after it was due.
            Schedules of paused queues are counted,
            schedules that are off are not. Without data, no schedule is on.""",
            f"sum({since_due} > bool {table.alerts.late_start_seconds:g})",
            limits=ANY_IS_WRONG,
        ),
    ]


def _infrastructure(table: Table) -> list[Panel]:
    recovered, poison = table.alerts.recovered_window_seconds, table.alerts.poison_window_seconds
    return [
        stat(
            "Schedulers live",
            f"""Schedulers with a heartbeat within {in_words(table.schedules.silent_seconds)}. Without one, no
            schedule adds jobs; more than one is allowed.""",
            'max(nomad_schedulers{state="live"})',
            limits=ONE_IS_NEEDED,
        ),
        stat(
            "Collector",
            """Whether the last scrape of the admin could read Redis and the database. If not, the metrics of
            that source are missing here, not zero.""",
            "min by (source) (nomad_collector_success)",
            legend="{{source}}",
            words=GOOD,
            unit="none",
            limits=ONE_IS_NEEDED,
        ),
        stat(
            "Redis memory, of its limit",
            "Memory that Redis uses, as a share of its limit. At the limit no job can be added.",
            memory_share(),
            unit="percentunit",
            limits=memory_limits(table),
            no_data="no limit known",
        ),
        stat(
            "Redis keeps jobs on disk",
            "Whether Redis writes jobs to disk and its last write succeeded. If not, a restart of Redis loses jobs.",
            "min(nomad_redis_persistence_ok)",
            words=GOOD,
            unit="none",
            limits=ONE_IS_NEEDED,
        ),
        stat(
            f"Recovered in {in_words(recovered)}",
            "Jobs taken back from lost workers and started again. Normally 0, except after a worker was killed.",
            _collected_rise("nomad_queue_recovered_total", recovered),
            limits=ANY_IS_A_WARNING,
        ),
        stat(
            f"Poison in {in_words(poison)}",
            "Jobs that failed because several workers were lost while running them: they kill their process.",
            _collected_rise("nomad_queue_poison_total", poison),
            limits=ANY_IS_WRONG,
        ),
    ]


def _collected_rise(name: str, window_seconds: float) -> str:
    # Rounded, because `increase` extrapolates beyond the samples.
    increase = f"increase({selector(name, QUEUE)}[{duration(window_seconds)}])"
    return f"sum(max by (queue) (round({increase})))"
