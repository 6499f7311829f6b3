"""The services that Prometheus scrapes, and their Redis."""

from __future__ import annotations

from nomad_actors.thresholds import Table

from .promql import number, window
from .rule import CRITICAL, WARNING, Alert, Group


def groups(table: Table) -> list[Group]:
    """Return the groups about services and Redis."""
    services = [_worker_down(table), _no_workers(table), _admin_down(table), _collector(table)]
    redis = [*_memory(table), _persistence(table), _redis_clock(table)]
    return [Group(name="nomad-services", rules=services), Group(name="nomad-redis", rules=redis)]


def _worker_down(table: Table) -> Alert:
    # Most ports of the range never answer. On a port that did, another process may listen now and the worker on the
    # next one: then as many answer as before.
    over = window(table.alerts.down_window_seconds)
    return Alert(
        name="NomadWorkerDown",
        expr=f"""
        up{{job="workers"}} == 0
        and
        max_over_time(up{{job="workers"}}[{over}]) == 1
        and on (job)
        sum by (job) (up{{job="workers"}}) < max_over_time(sum by (job) (up{{job="workers"}})[{over}:])
        """,
        for_seconds=table.alerts.down_for_seconds,
        severity=WARNING,
        summary="A worker does not answer.",
        description="""
        The worker at {{ $labels.instance }} has not answered Prometheus. See whether it is live: nomad workers; read
        the end of its log, then restart it: nomad run workers
        """,
    )


def _no_workers(table: Table) -> Alert:
    return Alert(
        name="NomadNoWorkers",
        expr=_none_up("workers"),
        for_seconds=table.alerts.down_for_seconds,
        severity=CRITICAL,
        summary="No worker answers.",
        description="""
        Prometheus reaches no worker. See whether any is live: nomad workers; then start one: nomad run workers
        """,
    )


def _admin_down(table: Table) -> Alert:
    return Alert(
        name="NomadAdminDown",
        expr=_none_up("admin"),
        for_seconds=table.alerts.down_for_seconds,
        severity=CRITICAL,
        summary="No admin answers, so the queues are not monitored.",
        description="""
        Prometheus reaches no admin: no alert about queues, schedules or Redis can fire. See nomad doctor; then start
        the admin: nomad run admin
        """,
    )


def _none_up(job: str) -> str:
    # absent() keeps the label `job`; `absent(up == 1)` would lose it.
    return f'max by (job) (up{{job="{job}"}}) == 0\nor\nabsent(up{{job="{job}"}})'


def _collector(table: Table) -> Alert:
    return Alert(
        name="NomadCollectorFailing",
        expr="nomad_collector_success == 0",
        for_seconds=table.alerts.collector_for_seconds,
        severity=CRITICAL,
        summary="The admin cannot read Redis or the database.",
        description="""
        The admin at {{ $labels.instance }} cannot read {{ $labels.source }}: no alert about its data can fire, and
        jobs that need it do not run. See what answers: nomad doctor
        """,
    )


def _memory(table: Table) -> list[Alert]:
    limits = {WARNING: table.doctor.memory_warning_percent, CRITICAL: table.doctor.memory_problem_percent}
    return [
        Alert(
            name="NomadRedisMemoryHigh",
            expr=f"max(nomad_redis_memory_bytes) / (max(nomad_redis_memory_limit_bytes) > 0) > {number(limit / 100)}",
            for_seconds=table.alerts.memory_for_seconds,
            severity=severity,
            summary="Redis' memory is nearly full.",
            description=f"""
            Redis uses {{{{ $value | humanizePercentage }}}} of its allowed memory (limit {limit:g} %); when it is
            full, no job can be added. See which queue has grown: nomad queues
            """,
        )
        for severity, limit in limits.items()
    ]


def _persistence(table: Table) -> Alert:
    return Alert(
        name="NomadRedisNotPersisting",
        expr="max(nomad_redis_persistence_ok) == 0",
        for_seconds=table.alerts.persistence_for_seconds,
        severity=CRITICAL,
        summary="Redis does not write the jobs to disk.",
        description="""
        Redis' persistence is off or its last write failed: a restart of Redis loses jobs. See which: nomad doctor
        """,
    )


def _redis_clock(table: Table) -> Alert:
    return Alert(
        name="NomadRedisClockStepped",
        expr=f"max(abs(nomad_queue_clock_offset_seconds)) > {number(table.doctor.clock_problem_seconds)}",
        for_seconds=table.alerts.clock_for_seconds,
        severity=WARNING,
        summary="Redis' clock has stepped, and the queues do not follow it.",
        description="""
        A queue's clock and Redis' are {{ $value | humanizeDuration }} apart: no job starts early or too late, but
        jobs that are due by Redis' clock are not due yet. Fix the time service of the host of Redis; nomad doctor shows
        the direction of the step
        """,
    )
