"""The other rows of the overview: queues, jobs, times, Redis, ESI and processes, over time."""

from __future__ import annotations

from nomad_actors.thresholds import Table

from ..alerts.promql import duration, newest, selector
from .limits import Limits, beyond, in_words
from .panels import Panel, Query, graph, stat
from .promises import drain_limits, judged_by_drain, promises, waiting_limits
from .queries import FAILED, OVER, QUEUE, RUN_BY_WORKERS, attempts, increase, jobs, quantile, rate


def queues_row(table: Table) -> list[Panel]:
    """Return panels about the size of the queues and their throughput."""
    waiting = jobs("queue", "waiting")
    drained = duration(table.alerts.drain_window_seconds)
    return [
        stat(
            "Waiting",
            "Jobs that could start now, including those of paused queues.",
            f"sum({jobs('queue, state', 'waiting|paused')})",
            width=6,
        ),
        stat(
            "Active",
            "Running jobs.",
            f"sum({jobs('queue', 'active')})",
            width=6,
        ),
        stat(
            "Waited in 1 h, 95th percentile",
            "19 of 20 runs of the last hour started within this time after they were due.",
            f"histogram_quantile(0.95, {increase('le', '1h', 'nomad_job_wait_seconds_bucket', QUEUE)})",
            unit="s",
            width=6,
            no_data="no runs",
        ),
        stat(
            "Release",
            "The release of the services; several during an update.",
            "count by (version) (nomad_build_info)",
            legend="{{version}}",
            width=6,
        ),
        graph(
            "Waiting, by queue",
            f"""Jobs that could start now. The line is the alert's threshold. It does not apply to
            {", ".join(judged_by_drain(table))}: their alert uses the time to drain.""",
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
            """Jobs that workers, scheduler and admin added, and all that ended. Your own programs count the jobs that
            they add, so these are only in the ended jobs. See the next panel for whether queues grow.""",
            [
                Query(expr=rate("", "nomad_jobs_enqueued_total", QUEUE), legend="added"),
                Query(expr=attempts("", QUEUE, OVER), legend="ended"),
            ],
            unit="ops",
        ),
        graph(
            "Jobs to do, by state",
            "Jobs of all queues that have not ended.",
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
            f"""How long the waiting jobs take at the rate of the last {in_words(table.alerts.drain_window_seconds)}.
            The line is the alert's threshold, for {", ".join(judged_by_drain(table))}. Missing if no job ended.""",
            [
                Query(
                    expr=f"""{waiting} / on (queue)
                    ({attempts("queue", QUEUE, RUN_BY_WORKERS, window=drained)} > 0)""",
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
    """Return panels about the outcomes of jobs."""
    return [
        graph(
            "Attempts, by outcome",
            "Runs that ended, by outcome.",
            [Query(expr=attempts("outcome", QUEUE), legend="{{outcome}}")],
            unit="ops",
            stacked=True,
        ),
        graph(
            "Failed and retried, by job type",
            "Jobs that failed permanently, and failed attempts that will be retried.",
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
    """Return panels about how long jobs wait and run."""
    return [
        graph(
            "Wait, by queue",
            "From due to start: median and 95th percentile. Missing if no job started.",
            [
                Query(expr=quantile(share, "queue", "nomad_job_wait_seconds", QUEUE), legend=f"{{{{queue}}}} {word}")
                for share, word in ((0.5, "p50"), (0.95, "p95"))
            ],
            unit="s",
        ),
        graph(
            "Duration, by job type",
            """From start to end of completed runs: median and 95th percentile. Missing if none completed. A run is
            stopped at its job type's time limit.""",
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
    """Return panels about Redis and the cost of reading it."""
    return [
        graph(
            "Redis memory",
            "Memory that Redis uses, and its limit, if it has one.",
            [
                Query(expr="max(nomad_redis_memory_bytes)", legend="used"),
                Query(expr="max(nomad_redis_memory_limit_bytes) > 0", legend="limit"),
            ],
            unit="bytes",
            width=8,
        ),
        graph(
            "Redis memory over time, of its limit",
            "Memory that Redis uses, as a share of its limit. The lines are the alerts' thresholds.",
            [Query(expr=memory_share(), legend="used")],
            unit="percentunit",
            width=8,
            limits=memory_limits(table),
        ),
        graph(
            "Reading for a scrape",
            "How long the admin took to read each source for the last scrape. Prometheus gives up after 10 s.",
            [Query(expr="max by (source) (nomad_collector_seconds)", legend="{{source}}")],
            unit="s",
            width=8,
        ),
    ]


def esi_row(table: Table) -> list[Panel]:
    """Return panels about requests to ESI and the SSO."""
    groups = ((0.5, "p50"), (0.95, "p95"))
    return [
        graph(
            "ESI requests, by status",
            "Requests to ESI by the status of the response; `network` means no response.",
            [Query(expr=rate("status", "nomad_esi_requests_total"), legend="{{status}}")],
            unit="reqps",
            width=8,
        ),
        graph(
            "ESI request time, by group",
            "From sending a request to the end of the response: median and 95th percentile.",
            [
                Query(expr=quantile(share, "group", "nomad_esi_request_seconds"), legend=f"{{{{group}}}} {word}")
                for share, word in groups
            ],
            unit="s",
            width=8,
        ),
        graph(
            "Token refreshes, by outcome",
            """Refreshed logins; dead logins, whose player must log in again; and refreshes that failed because of
            wrong settings or because the SSO did not answer.""",
            [Query(expr=rate("outcome", "nomad_token_refresh_total"), legend="{{outcome}}")],
            unit="ops",
            width=8,
        ),
        graph(
            "Requests not sent, by cause",
            """Requests to ESI and SSO that a limit or a brake stopped; their jobs are deferred. `nomad esi` shows
            what is in force.""",
            [Query(expr=rate("cause", "nomad_esi_not_sent_total"), legend="{{cause}}")],
            unit="ops",
        ),
        graph(
            "Brakes in force, by kind",
            "How long the oldest brake of a kind has been in force; 0 if none is. The line is the alert's threshold.",
            [Query(expr="max by (kind) (nomad_esi_brake_seconds)", legend="{{kind}}")],
            unit="s",
            limits=beyond(table.esi.brake_seconds),
        ),
        graph(
            "Errors that ESI allows",
            """Of the old error limit, in this minute, as all processes count them. Below 50 requests are spaced out, at
            20 none is sent.""",
            [Query(expr="min(nomad_esi_errors_remaining)", legend="errors")],
            unit="short",
            width=8,
        ),
        graph(
            "Fullest bucket, by rate group",
            "The share of its tokens that the fullest bucket has spent; 0 if none is half spent.",
            [Query(expr="max by (group) (nomad_esi_bucket_used_ratio)", legend="{{group}}")],
            unit="percentunit",
            width=8,
        ),
        graph(
            "Buckets without room, by rate group",
            "Characters whose bucket had no room within 15 minutes; their jobs are deferred.",
            [Query(expr="max by (group) (nomad_esi_buckets_starving)", legend="{{group}}")],
            unit="short",
            width=8,
        ),
        graph(
            "Overdue routes",
            """Characters for which a subscribed route should have been refreshed 15 minutes ago.""",
            [Query(expr="max by (dataset) (nomad_esi_overdue_routes)", legend="{{dataset}}")],
            unit="short",
            width=8,
        ),
        graph(
            "Refused routes",
            "Characters for which ESI refuses a route, so nothing is sent until the refusal ends.",
            [Query(expr="max by (dataset) (nomad_esi_refusals)", legend="{{dataset}}")],
            unit="short",
            width=8,
        ),
        graph(
            "Logins that SSO rejects, and changes by CCP",
            """Logins that SSO first rejected within a day, and differences between CCP's documents and our table of
            routes at the last weekly check.""",
            [
                Query(expr="max(nomad_logins_rejected)", legend="rejected logins"),
                Query(expr="max(nomad_esi_drift)", legend="differences"),
            ],
            unit="short",
            width=8,
        ),
        graph(
            "History at risk",
            "Characters of whose history ESI will soon not show what nobody has read.",
            [Query(expr="max by (data_type) (nomad_history_at_risk_characters)", legend="{{data_type}}")],
            unit="short",
        ),
        graph(
            "Holes in the history, by cause",
            """Spans in which rows may be missing: ESI no longer showed them (retention), they could not be stored
            (set_aside), the balances do not add up (balance), or orders were filled between two lists (unseen).""",
            [Query(expr="max by (data_type, cause) (nomad_history_holes)", legend="{{data_type}} {{cause}}")],
            unit="short",
        ),
    ]


def processes_row() -> list[Panel]:
    """Return panels about the resources that the services use."""
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
            "CPU time that each service uses; 1 is one full core.",
            [Query(expr=rate("job, instance", "process_cpu_seconds_total", ours), legend="{{job}} {{instance}}")],
            unit="short",
        ),
    ]


def memory_share() -> str:
    """Return Redis' memory as a share of its limit; no value if it has none."""
    return "max(nomad_redis_memory_bytes) / (max(nomad_redis_memory_limit_bytes) > 0)"


def memory_limits(table: Table) -> Limits:
    """Return the limits of that share."""
    doctor = table.doctor
    return beyond(doctor.memory_problem_percent / 100, warning=doctor.memory_warning_percent / 100)
