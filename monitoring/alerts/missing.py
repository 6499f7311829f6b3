"""What tells of a series that is gone, since a comparison with nothing says nothing: its alert would just resolve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nomad_actors.jobs import JOB_TYPES, SCHEDULES
from nomad_actors.thresholds import Table

from .rule import CRITICAL, WARNING, Alert, Group, Recording, metrics_in, recordings_in

_QUEUES = [f'queue="{queue}"' for queue in sorted({job_type.queue for job_type in JOB_TYPES})]


def _none_answers(job: str) -> str:
    # Where targets are found by name, a service that is gone has none.
    return f'(max(up{{job="{job}"}}) or vector(0)) == 0'


#: A cause that an alert of its own tells of; what is missing because of it needs no other one.
_NO_ADMIN = _none_answers("admin")
_REDIS_UNREAD = f'max(nomad_collector_success{{source="redis"}}) == 0 or {_NO_ADMIN}'
_NO_SCHEDULER = _none_answers("scheduler")

#: The series of each metric that must be there, and what explains that they are not.
_WATCHED: dict[str, tuple[Sequence[str], str]] = {
    "nomad_job_attempts_total": (_QUEUES, _REDIS_UNREAD),
    "nomad_collector_success": (['source="redis"', 'source="database"'], _NO_ADMIN),
    "nomad_queue_jobs": (_QUEUES, _REDIS_UNREAD),
    "nomad_queue_oldest_waiting_seconds": (_QUEUES, _REDIS_UNREAD),
    "nomad_queue_paused": (_QUEUES, _REDIS_UNREAD),
    "nomad_queue_workers": (_QUEUES, _REDIS_UNREAD),
    "nomad_schedule_enabled": ([f'schedule="{each.name}"' for each in SCHEDULES], _REDIS_UNREAD),
    "nomad_schedulers": (['state="live"'], _REDIS_UNREAD),
    "nomad_redis_memory_bytes": ([""], _REDIS_UNREAD),
    "nomad_redis_memory_limit_bytes": ([""], _REDIS_UNREAD),
    "nomad_redis_persistence_ok": ([""], _REDIS_UNREAD),
    "nomad_scheduler_holds": (['job="scheduler"'], _NO_SCHEDULER),
}
#: Missing while the schedule is off, which the next one tells, or told by the alert that relies on it.
_ANSWERED_FOR = {
    "up",
    "nomad_schedule_success_due_timestamp_seconds",
    "nomad_scheduler_heartbeat_timestamp_seconds",
}
#: Asked for by no alert, and there for each schedule that Redis knows.
_OF_ALL = {"nomad_schedule_enabled"}
#: A managed Redis may keep these to itself, which is worth knowing, but not at night.
_NOT_URGENT = "nomad_redis_"


def groups(table: Table, others: Iterable[Group]) -> list[Group]:
    """Return the group that watches every metric which a critical alert of the `others` relies on.

    Raises `LookupError` for one of which nobody said which series must be there.
    """
    return [Group(name="nomad-missing", rules=[_missing(table, name) for name in sorted(relied_on(others) | _OF_ALL)])]


def relied_on(groups: Iterable[Group]) -> set[str]:
    """Return the metrics that critical alerts ask for, themselves or through a recording."""
    rules = [rule for group in groups for rule in group.rules]
    recorded = {rule.name: rule.expr for rule in rules if isinstance(rule, Recording)}
    found: set[str] = set()
    for rule in rules:
        if isinstance(rule, Alert) and rule.severity == CRITICAL:
            found |= _metrics(rule.expr, recorded)
    return found - _ANSWERED_FOR


def _metrics(expr: str, recorded: dict[str, str]) -> set[str]:
    return metrics_in(expr).union(*(_metrics(recorded[name], recorded) for name in recordings_in(expr)))


def _missing(table: Table, metric: str) -> Alert:
    series, cause = _WATCHED[metric]
    clauses = "\nor\n".join(f"  absent({metric}{{{each}}})" if each else f"  absent({metric})" for each in series)
    # Each series is told apart by its last label.
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
        when it was scraped last, on Prometheus' page of targets
        """,
    )
