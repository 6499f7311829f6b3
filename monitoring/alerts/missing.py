"""Alerts about missing series: a comparison with a missing series returns nothing, so its alert would just resolve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nomad_actors.jobs import JOB_TYPES, SCHEDULES
from nomad_actors.thresholds import Table

from .rule import CRITICAL, WARNING, Alert, Group, Recording, metrics_in, recordings_in

_QUEUES = [f'queue="{queue}"' for queue in sorted({job_type.queue for job_type in JOB_TYPES})]


def _none_up(job: str) -> str:
    # If targets are found by name, a service that is gone has no target.
    return f'(max(up{{job="{job}"}}) or vector(0)) == 0'


#: Causes that have their own alerts: series that are missing because of them need no other alert.
_NO_ADMIN = _none_up("admin")
_REDIS_UNREAD = f'max(nomad_collector_success{{source="redis"}}) == 0 or {_NO_ADMIN}'
_NO_SCHEDULER = _none_up("scheduler")

#: The series that each metric must have, and the cause that excuses their absence.
_WATCHED: dict[str, tuple[Sequence[str], str]] = {
    "nomad_job_attempts_total": (_QUEUES, _REDIS_UNREAD),
    "nomad_collector_success": (['source="redis"', 'source="database"'], _NO_ADMIN),
    "nomad_queue_jobs": (_QUEUES, _REDIS_UNREAD),
    "nomad_queue_oldest_waiting_seconds": (_QUEUES, _REDIS_UNREAD),
    "nomad_queue_paused": (_QUEUES, _REDIS_UNREAD),
    "nomad_queue_workers": (_QUEUES, _REDIS_UNREAD),
    "nomad_schedule_enabled": ([f'schedule="{each.name}"' for each in SCHEDULES], _REDIS_UNREAD),
    "nomad_esi_brake_seconds": (['kind="refused"'], _REDIS_UNREAD),
    "nomad_schedulers": (['state="live"'], _REDIS_UNREAD),
    "nomad_redis_memory_bytes": ([""], _REDIS_UNREAD),
    "nomad_redis_memory_limit_bytes": ([""], _REDIS_UNREAD),
    "nomad_redis_persistence_ok": ([""], _REDIS_UNREAD),
    "nomad_scheduler_holds": (['job="scheduler"'], _NO_SCHEDULER),
}
#: Missing while the schedule is off, which `nomad_schedule_enabled` shows, or checked by the alert that relies on it.
_CHECKED_ELSEWHERE = {
    "up",
    "nomad_schedule_success_due_timestamp_seconds",
    "nomad_scheduler_heartbeat_timestamp_seconds",
}
#: Used by no alert, and present for each schedule that Redis has.
_ALWAYS_PRESENT = {"nomad_schedule_enabled"}
#: A managed Redis may not report these: worth knowing, but not at night.
_NOT_URGENT = "nomad_redis_"


def groups(table: Table, others: Iterable[Group]) -> list[Group]:
    """Return the group that watches every metric that a critical alert of the `others` relies on.

    Raises `LookupError` for a metric whose required series are not defined.
    """
    return [
        Group(
            name="nomad-missing", rules=[_missing(table, name) for name in sorted(relied_on(others) | _ALWAYS_PRESENT)]
        )
    ]


def relied_on(groups: Iterable[Group]) -> set[str]:
    """Return the metrics that critical alerts use, directly or through a recording."""
    rules = [rule for group in groups for rule in group.rules]
    recorded = {rule.name: rule.expr for rule in rules if isinstance(rule, Recording)}
    found: set[str] = set()
    for rule in rules:
        if isinstance(rule, Alert) and rule.severity == CRITICAL:
            found |= _metrics(rule.expr, recorded)
    return found - _CHECKED_ELSEWHERE


def _metrics(expr: str, recorded: dict[str, str]) -> set[str]:
    return metrics_in(expr).union(*(_metrics(recorded[name], recorded) for name in recordings_in(expr)))


def _missing(table: Table, metric: str) -> Alert:
    series, cause = _WATCHED[metric]
    clauses = "\nor\n".join(f"  absent({metric}{{{each}}})" if each else f"  absent({metric})" for each in series)
    # The last label distinguishes the series.
    label = series[0].split(", ")[-1].partition("=")[0]
    which = f" of {{{{ $labels.{label} }}}}" if len(series) > 1 else ""
    return Alert(
        name="NomadMetricMissing",
        expr=f"(\n{clauses}\n)\nunless on () ({cause})",
        for_seconds=table.alerts.missing_for_seconds,
        severity=WARNING if metric.startswith(_NOT_URGENT) else CRITICAL,
        labels={"metric": metric},
        summary="A metric that critical alerts rely on is missing.",
        description=f"""
        {metric}{which} is missing: the alerts that rely on it cannot fire. See which target should export it and
        when it was last scraped, on Prometheus' page of targets
        """,
    )
