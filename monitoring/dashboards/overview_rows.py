"""The overview's rows below its first: queues, jobs, times, Redis, ESI and processes, over time."""

from __future__ import annotations

from nomad_actors.thresholds import Table

from .limits import Limits, beyond, in_words
from .panels import Panel, Query, graph, stat
from .promises import drain_limits, judged_by_drain, promises, waiting_limits
from .queries import (
    FAILED,
    OVER,
    QUEUE,
    WORKED_OFF,
    attempts,
    increase,
    jobs,
    newest,
    prometheus_duration,
    quantile,
    rate,
    selector,
)


def queues_row(table: Table) -> list[Panel]:
    """Return how full the queues are, and whether they are worked off."""
    waiting = jobs("queue", "waiting")
    drained = prometheus_duration(table.alerts.drain_window_seconds)
    return [
        stat(
            "Waiting",
            "Jobs that could start now, those of paused queues among them.",
            f"sum({jobs('queue, state', 'waiting|paused')})",
            width=6,
        ),
        stat(
            "Active",
            "Jobs that run now.",
            f"sum({jobs('queue', 'active')})",
            width=6,
        ),
        stat(
            "Waited in 1 h, 95th percentile",
            "19 of 20 runs of the last hour started within this time after they were due.",
            f"histogram_quantile(0.95, {increase('le', '1h', 'nomad_job_wait_seconds_bucket', QUEUE)})",
            unit="s",
            width=6,
            no_data="no run",
        ),
        stat(
            "Release",
            "What the services run; more than one while they are updated.",
            "count by (version) (nomad_build_info)",
            legend="{{version}}",
            width=6,
        ),
        graph(
            "Waiting, by queue",
            f"""Jobs that could start now. The line is the alert's, for queues that are judged by number; not for
            {", ".join(judged_by_drain(table))}, judged by the time to drain.""",
            [Query(expr=waiting, legend="{{queue}}")],
            unit="short",
            limits=waiting_limits(table),
        ),
        graph(
            "Oldest waiting, by queue",
            f"""How long the first waiting job has been due. Promised: {promises(table)}; the line is the first of
            these.""",
            [Query(expr=newest("queue", "nomad_queue_oldest_waiting_seconds", QUEUE), legend="{{queue}}")],
            unit="s",
            limits=beyond(table.default.oldest_waiting_seconds),
        ),
        graph(
            "Added and ended",
            """Jobs that workers, scheduler and admin added, and all that ended. What your own programs add is counted
            where they are and ends here all the same: whether queues grow, the panel beside this says.""",
            [
                Query(expr=rate("", "nomad_jobs_enqueued_total", QUEUE), legend="added"),
                Query(expr=attempts("", QUEUE, OVER), legend="ended"),
            ],
            unit="ops",
        ),
        graph(
            "Jobs to do, by state",
            "Jobs of all queues that are not over.",
            [
                Query(
                    expr=f"sum by (state) ({jobs('queue, state', 'waiting|active|delayed|paused')})",
                    legend="{{state}}",
                )
            ],
            unit="short",
            stacked=True,
        ),
        graph(
            "Time to drain, by queue",
            f"""How long what waits takes at the pace of the last {in_words(table.alerts.drain_window_seconds)}. The
            line is the alert's, for {", ".join(judged_by_drain(table))}. Missing where nothing ended.""",
            [
                Query(
                    expr=f"""{waiting} / on (queue)
                    ({attempts("queue", QUEUE, WORKED_OFF, window=drained)} > 0)""",
                    legend="{{queue}}",
                )
            ],
            unit="s",
            limits=drain_limits(table),
        ),
        graph(
            "Workers, by queue",
            "Live worker processes that serve the queue.",
            [Query(expr=newest("queue", "nomad_queue_workers", QUEUE), legend="{{queue}}")],
            unit="short",
        ),
    ]


def jobs_row() -> list[Panel]:
    """Return what becomes of jobs."""
    return [
        graph(
            "Attempts, by outcome",
            "Runs that are over, by what became of them.",
            [Query(expr=attempts("outcome", QUEUE), legend="{{outcome}}")],
            unit="ops",
            stacked=True,
        ),
        graph(
            "Failed and retried, by job type",
            "Jobs that failed for good, and attempts that failed and will run again.",
            [
                Query(expr=attempts("actor", QUEUE, FAILED), legend="{{actor}} failed"),
                Query(
                    expr=attempts("actor", QUEUE, 'outcome="retried"'),
                    legend="{{actor}} retried",
                ),
            ],
            unit="ops",
        ),
    ]


def times_row() -> list[Panel]:
    """Return how long jobs wait and run."""
    return [
        graph(
            "Wait, by queue",
            "Due to start: median and 95th percentile. Missing where nothing started.",
            [
                Query(expr=quantile(share, "queue", "nomad_job_wait_seconds", QUEUE), legend=f"{{{{queue}}}} {word}")
                for share, word in ((0.5, "p50"), (0.95, "p95"))
            ],
            unit="s",
        ),
        graph(
            "Duration, by job type",
            """Start to end of completed runs: median and 95th percentile. Missing where none completed; a run beyond
            its job type's time limit is stopped.""",
            [
                Query(
                    expr=quantile(share, "actor", "nomad_job_duration_seconds", QUEUE), legend=f"{{{{actor}}}} {word}"
                )
                for share, word in ((0.5, "p50"), (0.95, "p95"))
            ],
            unit="s",
        ),
    ]


def redis_row(table: Table) -> list[Panel]:
    """Return how Redis stands, and what it costs to ask."""
    return [
        graph(
            "Redis memory",
            "Memory that Redis uses, and its limit. Without a limit, that line is missing.",
            [
                Query(expr="max(nomad_redis_memory_bytes)", legend="used"),
                Query(expr="max(nomad_redis_memory_limit_bytes) > 0", legend="limit"),
            ],
            unit="bytes",
            width=8,
        ),
        graph(
            "Redis memory over time, of its limit",
            "Memory that Redis uses, as a share of its limit. The lines are the alerts'.",
            [Query(expr=memory_share(), legend="used")],
            unit="percentunit",
            width=8,
            limits=memory_limits(table),
        ),
        graph(
            "Reading for a scrape",
            "How long the admin read each source for the last scrape. Prometheus gives up after 10 s.",
            [Query(expr="max by (source) (nomad_collector_seconds)", legend="{{source}}")],
            unit="s",
            width=8,
        ),
    ]


def esi_row() -> list[Panel]:
    """Return the requests to ESI and the SSO."""
    groups = ((0.5, "p50"), (0.95, "p95"))
    return [
        graph(
            "ESI requests, by status",
            "Requests to ESI by the status of their answer; `network` is no answer at all.",
            [Query(expr=rate("status", "nomad_esi_requests_total"), legend="{{status}}")],
            unit="reqps",
            width=8,
        ),
        graph(
            "ESI request time, by group",
            "Sending a request to the end of its answer: median and 95th percentile.",
            [
                Query(expr=quantile(share, "group", "nomad_esi_request_seconds"), legend=f"{{{{group}}}} {word}")
                for share, word in groups
            ],
            unit="s",
            width=8,
        ),
        graph(
            "Token refreshes, by outcome",
            """Refreshed logins; those found dead, whose player must log in again; and those that failed by our own
            settings or because the SSO was away.""",
            [Query(expr=rate("outcome", "nomad_token_refresh_total"), legend="{{outcome}}")],
            unit="ops",
            width=8,
        ),
    ]


def processes_row() -> list[Panel]:
    """Return what the services take of this host."""
    ours = 'job=~"workers|scheduler|admin"'
    return [
        graph(
            "Memory",
            "Resident memory of each service.",
            [Query(expr=selector("process_resident_memory_bytes", ours), legend="{{job}} {{instance}}")],
            unit="bytes",
        ),
        graph(
            "Processor",
            "Processor time that each service takes; 1 is one whole core.",
            [Query(expr=rate("job, instance", "process_cpu_seconds_total", ours), legend="{{job}} {{instance}}")],
            unit="short",
        ),
    ]


def memory_share() -> str:
    """Return Redis' memory as a share of its limit; no answer where it has none."""
    return "max(nomad_redis_memory_bytes) / (max(nomad_redis_memory_limit_bytes) > 0)"


def memory_limits(table: Table) -> Limits:
    """Return the limits of that share."""
    doctor = table.doctor
    return beyond(doctor.memory_problem_percent / 100, warning=doctor.memory_warning_percent / 100)
