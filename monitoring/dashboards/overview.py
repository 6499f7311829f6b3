"""The system at a glance: is it healthy, and if not, where to look."""

from __future__ import annotations

from nomad_actors.thresholds import Table

from .dashboard import Dashboard, Row, Variable
from .limits import ANY_IS_WORTH_A_LOOK, ANY_IS_WRONG, GREEN, ONE_IS_NEEDED, RED, Limits, beyond, in_words
from .panels import Panel, Query, graph, stat
from .promises import (
    drain_limits,
    failed_share,
    judged_by_drain,
    oldest_of_promise,
    overdue_seconds,
    promises,
    waiting_limits,
)
from .queries import ENDED, FAILED, QUEUE, increase, jobs, newest, prometheus_duration, quantile, rate, selector

#: Yes and no of a gauge, where no is wrong.
GOOD = {1: ("ok", GREEN), 0: ("failing", RED)}


def overview(table: Table) -> Dashboard:
    """Return the dashboard with the limits of the table."""
    return Dashboard(
        uid="nomad-overview",
        title="EVE Nomad: overview",
        description="The system at a glance: is it healthy, and if not, where to look.",
        variables=[Variable(name="queue", label="Queue", series="nomad_queue_jobs")],
        rows=[
            Row("Is it healthy?", [*_work(table), *_ground(table)]),
            Row("Queues", _queues(table)),
            Row("Jobs", _jobs()),
            Row("Waits and durations", _times()),
            Row("Redis and the collector", _redis(table)),
            Row("ESI and logins", _esi()),
            Row("Processes", _processes()),
        ],
    )


def _work(table: Table) -> list[Panel]:
    normal = table.default
    window = in_words(normal.failure_window_seconds)
    return [
        stat(
            "Alerts firing",
            """Alerts that fire now. Without an answer Prometheus has no rules: nothing is watched then.""",
            'count(ALERTS{alertstate="firing"}) or 0 * sum(prometheus_rule_group_rules)',
            limits=ANY_IS_WRONG,
        ),
        stat(
            "Workers up",
            "Worker services that answered the last scrape. With none, no job runs.",
            'sum(up{job="workers"})',
            limits=ONE_IS_NEEDED,
        ),
        stat(
            "Oldest waiting, of its promise",
            f"""How long the first waiting job has been due, as a share of what its queue promises
            ({promises(table)}); the worst queue's.""",
            f"max({oldest_of_promise(table)})",
            unit="percentunit",
            limits=beyond(1),
        ),
        stat(
            f"Failed in {window}, worst queue",
            f"""Jobs that failed for good, as a share of those that ended in {window}, of the queue where it is largest.
            Queues in which fewer than {normal.failure_least_ended} ended are left out, as the alert leaves them out.""",
            f"max({failed_share(table, 'queue', QUEUE)})",
            unit="percentunit",
            limits=beyond(normal.failure_percent / 100),
            no_data=f"under {normal.failure_least_ended} ended",
        ),
        stat(
            "Queues paused",
            "Queues that an operator paused: their jobs wait.",
            f"sum({newest('queue', 'nomad_queue_paused', QUEUE)})",
            limits=ANY_IS_WORTH_A_LOOK,
        ),
        stat(
            "Schedules overdue",
            f"""Schedules whose slot has not started {in_words(table.alerts.late_start_seconds)} after it was due.
            Schedules that are off are not counted; without an answer none is on.""",
            f"sum({overdue_seconds()} > bool {table.alerts.late_start_seconds:g})",
            limits=ANY_IS_WRONG,
        ),
    ]


def _ground(table: Table) -> list[Panel]:
    recovered, poison = table.alerts.recovered_window_seconds, table.alerts.poison_window_seconds
    return [
        stat(
            "Schedulers live",
            f"""Schedulers that were heard of within {in_words(table.schedules.silent_seconds)}. With none, no schedule
            adds a job; more than one is allowed.""",
            'max(nomad_schedulers{state="live"})',
            limits=ONE_IS_NEEDED,
        ),
        stat(
            "Collector",
            """Whether the last scrape of the admin could read Redis and the database. Where it failed, the numbers of
            that source are missing here, not zero.""",
            "min by (source) (nomad_collector_success)",
            legend="{{source}}",
            words=GOOD,
            unit="none",
            limits=ONE_IS_NEEDED,
        ),
        stat(
            "Redis memory, of its limit",
            "Memory that Redis uses, as a share of its limit; at the limit it takes no more jobs.",
            _memory_share(),
            unit="percentunit",
            limits=_memory_limits(table),
            no_data="no limit known",
        ),
        stat(
            "Redis keeps jobs on disk",
            "Whether Redis writes jobs to disk and its last write went well. Otherwise a restart of Redis loses jobs.",
            "min(nomad_redis_persistence_ok)",
            words=GOOD,
            unit="none",
            limits=ONE_IS_NEEDED,
        ),
        stat(
            f"Recovered in {in_words(recovered)}",
            "Jobs taken back from workers that were lost, and started again. Some after a worker was killed; else none.",
            _collected_rise("nomad_queue_recovered_total", recovered),
            limits=ANY_IS_WORTH_A_LOOK,
        ),
        stat(
            f"Poison in {in_words(poison)}",
            "Jobs that were given up because worker after worker was lost with them: they end the process they run in.",
            _collected_rise("nomad_queue_poison_total", poison),
            limits=ANY_IS_WRONG,
        ),
    ]


def _queues(table: Table) -> list[Panel]:
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
            f"How long the first waiting job has been due. Promised: {promises(table)}; the line is the first of these.",
            [Query(expr=newest("queue", "nomad_queue_oldest_waiting_seconds", QUEUE), legend="{{queue}}")],
            unit="s",
            limits=beyond(table.default.oldest_waiting_seconds),
        ),
        graph(
            "Added and ended",
            "Jobs added, and jobs that completed or failed for good. Where the first stays above, the queues grow.",
            [
                Query(expr=rate("", "nomad_jobs_enqueued_total", QUEUE), legend="added"),
                Query(expr=rate("", "nomad_job_attempts_total", QUEUE, ENDED), legend="ended"),
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
            f"""How long what waits takes at the pace of the last {in_words(table.alerts.drain_window_seconds)}. The line
            is the alert's, for {", ".join(judged_by_drain(table))}. Missing where nothing ended.""",
            [
                Query(
                    expr=f"""{waiting} / on (queue)
                    (sum by (queue) (rate(nomad_job_attempts_total{{{QUEUE}, {ENDED}}}[{drained}])) > 0)""",
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


def _jobs() -> list[Panel]:
    return [
        graph(
            "Attempts, by outcome",
            "Runs that are over, by what became of them.",
            [Query(expr=rate("outcome", "nomad_job_attempts_total", QUEUE), legend="{{outcome}}")],
            unit="ops",
            stacked=True,
        ),
        graph(
            "Failed and retried, by job type",
            "Jobs that failed for good, and attempts that failed and will run again.",
            [
                Query(expr=rate("actor", "nomad_job_attempts_total", QUEUE, FAILED), legend="{{actor}} failed"),
                Query(
                    expr=rate("actor", "nomad_job_attempts_total", QUEUE, 'outcome="retried"'),
                    legend="{{actor}} retried",
                ),
            ],
            unit="ops",
        ),
    ]


def _times() -> list[Panel]:
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


def _redis(table: Table) -> list[Panel]:
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
            [Query(expr=_memory_share(), legend="used")],
            unit="percentunit",
            width=8,
            limits=_memory_limits(table),
        ),
        graph(
            "Reading for a scrape",
            "How long the admin read each source for the last scrape. Prometheus gives up after 10 s.",
            [Query(expr="max by (source) (nomad_collector_seconds)", legend="{{source}}")],
            unit="s",
            width=8,
        ),
    ]


def _esi() -> list[Panel]:
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


def _processes() -> list[Panel]:
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


def _memory_share() -> str:
    return "max(nomad_redis_memory_bytes) / (max(nomad_redis_memory_limit_bytes) > 0)"


def _memory_limits(table: Table) -> Limits:
    doctor = table.doctor
    return beyond(doctor.memory_problem_percent / 100, warning=doctor.memory_warning_percent / 100)


def _collected_rise(name: str, window_seconds: float) -> str:
    """Return how many were added to a counter in Redis; whole ones, since `increase` reckons beyond the samples."""
    rise = f"increase({selector(name, QUEUE)}[{prometheus_duration(window_seconds)}])"
    return f"sum(max by (queue) (round({rise})))"
