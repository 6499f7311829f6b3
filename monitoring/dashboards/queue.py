"""One queue and job type in detail."""

from __future__ import annotations

import dataclasses

from nomad_actors.thresholds import Table

from ..alerts.slowness import MEAN, NORMAL_MEAN, RARE_MEAN, RARE_NORMAL_MEAN
from .dashboard import Dashboard, Row, Variable
from .limits import ANY_IS_WORTH_A_LOOK, ONE_IS_NEEDED, beyond, in_words
from .panels import Panel, Query, graph, stat
from .promises import budget_burn, failed_share, judged_by_drain, promises, waiting_limits
from .queries import ACTOR, FAILED, JOBS, OVER, QUEUE, attempts, jobs, newest, quantile, rate, selector

_QUANTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


def queue(table: Table) -> Dashboard:
    """Return the dashboard with the limits of the table."""
    return Dashboard(
        uid="nomad-queue",
        title="EVE Nomad: queue and job type",
        description="One queue and job type in detail; all of them until some are chosen.",
        variables=[
            Variable(name="job", label="Service", series="nomad_build_info"),
            Variable(name="queue", label="Queue", series="nomad_queue_jobs"),
            Variable(name="actor", label="Job type", series='nomad_job_attempts_total{queue=~"$queue"}'),
        ],
        rows=[
            Row("Now", _now(table)),
            Row("Jobs and workers", _standing(table)),
            Row("Attempts", _attempts(table)),
            Row("Waits and durations", [*_times(), *_normals(table)]),
            Row("Trouble", _trouble()),
        ],
    )


def _now(table: Table) -> list[Panel]:
    return [
        stat("Jobs waiting", "Jobs that could start now.", f"sum({jobs('queue', 'waiting')})"),
        stat("Jobs active", "Jobs that run now.", f"sum({jobs('queue', 'active')})"),
        stat(
            "Jobs delayed",
            "Jobs that start later: delayed, or waiting for their next attempt.",
            f"sum({jobs('queue', 'delayed')})",
        ),
        stat(
            "Failed jobs kept",
            "Jobs that failed for good and are kept, to be looked at and retried.",
            f"sum({jobs('queue', 'failed')})",
        ),
        stat(
            "Workers, fewest",
            "Live worker processes of the queue that has the fewest. With none, its jobs wait.",
            f"min({newest('queue', 'nomad_queue_workers', QUEUE)})",
            limits=ONE_IS_NEEDED,
        ),
        stat(
            "Paused for",
            "How long the queue has been paused; of several, the longest. Without an answer none is paused.",
            f"max({_paused_seconds()})",
            unit="s",
            limits=beyond(table.alerts.paused_seconds),
            no_data="not paused",
        ),
    ]


def _standing(table: Table) -> list[Panel]:
    by_drain = ", ".join(judged_by_drain(table))
    overtime = table.default.beyond_time_limit_seconds
    return [
        graph(
            "Jobs, by state",
            f"""Jobs in Redis. The line is how many may wait, in a queue; {by_drain} is judged by the time to drain.
            Ended jobs are kept for a while only.""",
            [Query(expr=newest("queue, state", "nomad_queue_jobs", QUEUE), legend="{{queue}} {{state}}")],
            unit="short",
            limits=waiting_limits(table),
        ),
        graph(
            "Oldest waiting, by priority",
            f"""How long the first waiting job of each priority has been due; 0 when none waits. Promised:
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
            "How long the longest-running job runs.",
            [Query(expr=newest("queue", "nomad_queue_longest_active_seconds", QUEUE), legend="{{queue}}")],
            unit="s",
            width=8,
        ),
        graph(
            "Overtime",
            f"""How far the worst running job is beyond its job type's time limit; 0 when none is. The line is the
            alert's: within {in_words(overtime)} a job is stopped and cleans up.""",
            [Query(expr=newest("queue", "nomad_queue_overtime_seconds", QUEUE), legend="{{queue}}")],
            unit="s",
            width=8,
            limits=beyond(overtime),
        ),
        graph(
            "Workers",
            "Live worker processes that serve the queue. With none, its jobs wait.",
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
            """Jobs that workers, scheduler and admin added, and all that ended. What your own programs add is counted
            where they are and ends here all the same: whether the queue grows, its jobs by state say.""",
            [
                Query(expr=rate("queue, actor", "nomad_jobs_enqueued_total", JOBS), legend="{{actor}} enqueued"),
                Query(expr=attempts("queue, actor", QUEUE, ACTOR, OVER), legend="{{actor}} ended"),
            ],
            unit="ops",
        ),
        graph(
            "Attempts, by outcome",
            "Runs that are over, by what became of them.",
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
            f"""Jobs that failed for good, as a share of those that ended in the {window} before. The line is the
            alert's, which judges whole queues. Missing where fewer than {table.default.failure_least_ended} ended.""",
            [
                Query(expr=failed_share(table, "queue", QUEUE), legend="{{queue}}"),
                Query(expr=failed_share(table, "queue, actor", QUEUE, ACTOR), legend="{{queue}} {{actor}}"),
            ],
            unit="percentunit",
            limits=beyond(table.default.failure_percent / 100),
        ),
        graph(
            "Failed, retried and recovered",
            "Jobs that failed for good, attempts that will run again, and runs whose worker was lost.",
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
        f"""How many times as fast as it lasts a month's budget is spent, of the worst queue:
        {100 - alerts.completion_objective_percent:g} % of the jobs that end may fail. Coloured from where the alert
        fires when a shorter window agrees. Missing where fewer than {alerts.burn_least_ended} ended.""",
        "",
        width=24,
        no_data=f"under {alerts.burn_least_ended} ended",
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
                "Due to start: what jobs waited for a worker, their delay not counted. Missing where nothing started.",
                "nomad_job_wait_seconds",
            ),
            (
                "Duration",
                "Start to end of completed runs. Missing where none completed.",
                "nomad_job_duration_seconds",
            ),
        )
    ]


def _normals(table: Table) -> list[Panel]:
    """Return what "slow against its own normal" compares, and from where on it is slow."""
    alerts = table.alerts
    quick, rare = in_words(alerts.slow_window_seconds), in_words(alerts.slow_rare_window_seconds)
    week = in_words(alerts.slow_baseline_seconds)
    return [
        _normal(
            f"Mean duration, {quick}, and its normal",
            f"""Mean of the runs that completed within {quick}, of at least {alerts.slow_least_runs}; its normal, the
            mean of the {week} before; and from where on it is slow. Recorded by the alerts' rules; missing where there
            were too few runs.""",
            MEAN,
            NORMAL_MEAN,
            (alerts.slow_times, alerts.slow_least_mean_seconds),
        ),
        _normal(
            f"Mean duration, {rare}, and its normal",
            f"""The same for job types that run too rarely to be judged by {quick}: mean of the runs within {rare}, and
            that of the {week} before.""",
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
            "Jobs taken back from workers that were lost, and started again.",
            [Query(expr=_collected_rate("nomad_queue_recovered_total"), legend="{{queue}}")],
            unit="ops",
            width=8,
        ),
        graph(
            "Poison",
            "Jobs that were given up because worker after worker was lost with them: they end the process they run in.",
            [Query(expr=_collected_rate("nomad_queue_poison_total"), legend="{{queue}}")],
            unit="ops",
            width=8,
        ),
        graph(
            "Paused",
            "1 while the queue is paused: no job of it starts.",
            [Query(expr=newest("queue", "nomad_queue_paused", QUEUE), legend="{{queue}}")],
            unit="short",
            width=8,
            limits=ANY_IS_WORTH_A_LOOK,
        ),
    ]


def _paused_seconds() -> str:
    return f"time() - {newest('queue', 'nomad_queue_paused_since_timestamp_seconds', QUEUE)}"


def _collected_rate(name: str) -> str:
    """Return the rise of a counter in Redis, which several admins may show."""
    return f"max by (queue) (rate({name}{{{QUEUE}}}[$__rate_interval]))"
