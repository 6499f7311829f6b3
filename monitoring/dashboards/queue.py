"""One queue and job type in detail."""

from __future__ import annotations

import dataclasses

from nomad_actors.thresholds import Table

from ..alerts.promql import newest, selector
from ..alerts.slowness import MEAN, NORMAL_MEAN, RARE_MEAN, RARE_NORMAL_MEAN
from .dashboard import Dashboard, Row, Variable
from .limits import ANY_IS_A_WARNING, ONE_IS_NEEDED, beyond, in_words
from .panels import Panel, Query, graph, stat
from .promises import budget_burn, failed_share, judged_by_drain, promises, waiting_limits
from .queries import ACTOR, FAILED, JOBS, OVER, QUEUE, attempts, jobs, quantile, rate, seconds_since

_QUANTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


def queue(table: Table) -> Dashboard:
    """Return the dashboard with the limits of the table."""
    return Dashboard(
        uid="nomad-queue",
        title="EVE Nomad: queue and job type",
        description="Queues and job types in detail; initially all of them.",
        variables=[
            Variable(name="job", label="Service", series="nomad_build_info"),
            Variable(name="queue", label="Queue", series="nomad_queue_jobs"),
            Variable(name="actor", label="Job type", series='nomad_job_attempts_total{queue=~"$queue"}'),
        ],
        rows=[
            Row("Now", _now(table)),
            Row("Jobs and workers", _state(table)),
            Row("Attempts", _attempts(table)),
            Row("Waits and durations", [*_times(), *_normals(table)]),
            Row("Trouble", _trouble()),
        ],
    )


def _now(table: Table) -> list[Panel]:
    return [
        stat("Jobs waiting", "Jobs that could start now.", f"sum({jobs('queue', 'waiting')})"),
        stat("Jobs active", "Running jobs.", f"sum({jobs('queue', 'active')})"),
        stat(
            "Jobs delayed",
            "Jobs that start later: delayed jobs, and failed attempts that will be retried.",
            f"sum({jobs('queue', 'delayed')})",
        ),
        stat(
            "Failed jobs kept",
            "Kept jobs that failed permanently. You can inspect and retry them.",
            f"sum({jobs('queue', 'failed')})",
        ),
        stat(
            "Workers, fewest",
            "Live worker processes of the queue that has the fewest. Without one, its jobs wait.",
            f"min({newest('queue', 'nomad_queue_workers', QUEUE)})",
            limits=ONE_IS_NEEDED,
        ),
        stat(
            "Paused for",
            "How long the queue has been paused; of several queues, the longest. Without data, none is paused.",
            f"max({seconds_since('queue', 'nomad_queue_paused_since_timestamp_seconds', QUEUE)})",
            unit="s",
            limits=beyond(table.alerts.paused_seconds),
            no_data="not paused",
        ),
    ]


def _state(table: Table) -> list[Panel]:
    by_drain = ", ".join(judged_by_drain(table))
    overtime = table.default.beyond_time_limit_seconds
    return [
        graph(
            "Jobs, by state",
            f"""Jobs in Redis. The line is the alert's threshold of waiting jobs; the alert of {by_drain} uses the time
            to drain. Ended jobs are kept only for some time.""",
            [Query(expr=newest("queue, state", "nomad_queue_jobs", QUEUE), legend="{{queue}} {{state}}")],
            unit="short",
            limits=waiting_limits(table),
        ),
        graph(
            "Oldest waiting, by priority",
            f"""How long the first waiting job of each priority has been due; 0 if none waits. Limits:
            {promises(table)}; the line is the first of these.""",
            [
                Query(
                    expr=newest("queue, priority", "nomad_queue_oldest_waiting_seconds", QUEUE),
                    legend="{{queue}} {{priority}}",
                )
            ],
            unit="s",
            limits=beyond(table.default.oldest_waiting_seconds),
        ),
        graph(
            "Longest active",
            "Run time of the longest-running job.",
            [Query(expr=newest("queue", "nomad_queue_longest_active_seconds", QUEUE), legend="{{queue}}")],
            unit="s",
            width=8,
        ),
        graph(
            "Overtime",
            f"""By how much the worst running job exceeds its job type's time limit; 0 if none does. The line is the
            alert's threshold: within {in_words(overtime)} a job is stopped and cleans up.""",
            [Query(expr=newest("queue", "nomad_queue_overtime_seconds", QUEUE), legend="{{queue}}")],
            unit="s",
            width=8,
            limits=beyond(overtime),
        ),
        graph(
            "Workers",
            "Live worker processes that serve the queue. Without one, its jobs wait.",
            [Query(expr=newest("queue", "nomad_queue_workers", QUEUE), legend="{{queue}}")],
            unit="short",
            width=8,
        ),
    ]


def _attempts(table: Table) -> list[Panel]:
    window = in_words(table.default.failure_window_seconds)
    return [
        _burns(table),
        graph(
            "Enqueued and ended",
            """Jobs that workers, scheduler and admin added, and all that ended. Your own programs count the jobs that
            they add, so these are only in the ended jobs. See the jobs by state for whether the queue grows.""",
            [
                Query(expr=rate("queue, actor", "nomad_jobs_enqueued_total", JOBS), legend="{{actor}} enqueued"),
                Query(expr=attempts("queue, actor", QUEUE, ACTOR, OVER), legend="{{actor}} ended"),
            ],
            unit="ops",
        ),
        graph(
            "Attempts, by outcome",
            "Runs that ended, by outcome.",
            [
                Query(
                    expr=attempts("queue, actor, outcome", QUEUE, ACTOR),
                    legend="{{actor}} {{outcome}}",
                )
            ],
            unit="ops",
            stacked=True,
        ),
        graph(
            f"Failed share, {window}",
            f"""Share of the jobs that ended in the {window} before that failed permanently. The line is the alert's
            threshold, for each queue. Missing if fewer than {table.default.failure_least_ended} ended.""",
            [
                Query(expr=failed_share(table, "queue", QUEUE), legend="{{queue}}"),
                Query(expr=failed_share(table, "queue, actor", QUEUE, ACTOR), legend="{{queue}} {{actor}}"),
            ],
            unit="percentunit",
            limits=beyond(table.default.failure_percent / 100),
        ),
        graph(
            "Failed, retried and recovered",
            "Jobs that failed permanently, failed attempts that will be retried, and runs whose worker was lost.",
            [
                Query(expr=attempts("queue, actor", QUEUE, ACTOR, FAILED), legend="{{actor}} failed"),
                Query(
                    expr=attempts("queue, actor", QUEUE, ACTOR, 'outcome="retried"'),
                    legend="{{actor}} retried",
                ),
                Query(
                    expr=attempts("queue, actor", QUEUE, ACTOR, 'outcome="recovered"'),
                    legend="{{actor}} recovered",
                ),
            ],
            unit="ops",
        ),
    ]


def _burns(table: Table) -> Panel:
    alerts = table.alerts
    windows = {f"last {in_words(burn.long_seconds)}": burn for burn in alerts.burns}
    panel = stat(
        "Error budget burn",
        f"""Burn rate of the error budget, for the worst queue: 1 spends exactly a month's budget in a month.
        {100 - alerts.completion_objective_percent:g} % of the jobs that end may fail. Red from the alert's threshold
        on; the alert also needs a shorter window above it. Missing if fewer than {alerts.burn_least_ended} ended.""",
        "",
        width=24,
        no_data=f"fewer than {alerts.burn_least_ended} ended",
    )
    return dataclasses.replace(
        panel,
        queries=[
            Query(expr=f"max({budget_burn(table, burn.long_seconds, QUEUE)})", legend=name, instant=True)
            for name, burn in windows.items()
        ],
        limits_by_name={name: beyond(burn.factor) for name, burn in windows.items()},
        options={**panel.options, "textMode": "value_and_name"},
    )


def _times() -> list[Panel]:
    return [
        graph(
            title,
            description,
            [
                Query(expr=quantile(share, "queue, actor", histogram, JOBS), legend=f"{{{{actor}}}} {word}")
                for share, word in _QUANTILES
            ],
            unit="s",
        )
        for title, description, histogram in (
            (
                "Wait",
                "From due to start: how long jobs waited for a worker, without their delay. Missing if none started.",
                "nomad_job_wait_seconds",
            ),
            (
                "Duration",
                "From start to end of completed runs. Missing if none completed.",
                "nomad_job_duration_seconds",
            ),
        )
    ]


def _normals(table: Table) -> list[Panel]:
    """Return the panels of what the alert NomadJobsSlow compares: the current mean, its baseline and the threshold."""
    alerts = table.alerts
    quick, rare = in_words(alerts.slow_window_seconds), in_words(alerts.slow_rare_window_seconds)
    week = in_words(alerts.slow_baseline_seconds)
    return [
        _normal(
            f"Mean duration, {quick}, and its normal",
            f"""Mean of the runs that completed within {quick}, of at least {alerts.slow_least_runs} runs; its usual
            value, the mean of the {week} before; and the alert's threshold. Recorded by the alerts' rules; missing if
            there were too few runs.""",
            MEAN,
            NORMAL_MEAN,
            (alerts.slow_times, alerts.slow_least_mean_seconds),
        ),
        _normal(
            f"Mean duration, {rare}, and its normal",
            f"""The same for job types with too few runs within {quick}: the mean of the runs within {rare}, and that
            of the {week} before.""",
            RARE_MEAN,
            RARE_NORMAL_MEAN,
            (alerts.slow_rare_times, alerts.slow_least_mean_seconds),
        ),
    ]


def _normal(title: str, description: str, mean: str, normal: str, slow: tuple[float, float]) -> Panel:
    times, least_seconds = slow
    now, normally = selector(mean, QUEUE, ACTOR), selector(normal, QUEUE, ACTOR)
    return graph(
        title,
        description,
        [
            Query(expr=now, legend="{{actor}} now"),
            Query(expr=normally, legend="{{actor}} normally"),
            Query(expr=f"clamp_min({times:g} * {normally}, {least_seconds:g})", legend="{{actor}} slow from here"),
        ],
        unit="s",
    )


def _trouble() -> list[Panel]:
    return [
        graph(
            "Recovered",
            "Jobs taken back from lost workers and started again.",
            [Query(expr=_collected_rate("nomad_queue_recovered_total"), legend="{{queue}}")],
            unit="ops",
            width=8,
        ),
        graph(
            "Poison",
            "Jobs that failed because several workers were lost while running them: they kill their process.",
            [Query(expr=_collected_rate("nomad_queue_poison_total"), legend="{{queue}}")],
            unit="ops",
            width=8,
        ),
        graph(
            "Paused",
            "1 while the queue is paused and none of its jobs start.",
            [Query(expr=newest("queue", "nomad_queue_paused", QUEUE), legend="{{queue}}")],
            unit="short",
            width=8,
            limits=ANY_IS_A_WARNING,
        ),
    ]


def _collected_rate(name: str) -> str:
    """Return the rate of a counter in Redis, which several admins may export."""
    return f"max by (queue) (rate({name}{{{QUEUE}}}[$__rate_interval]))"
