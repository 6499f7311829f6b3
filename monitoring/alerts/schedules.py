"""Schedules whose jobs start late or do not succeed, and the schedulers that should add them."""

from __future__ import annotations

from nomad_actors.jobs import SCHEDULES
from nomad_actors.scheduler import JobSchedule
from nomad_actors.thresholds import Table

from .promql import in_words, newest, number
from .rule import CRITICAL, WARNING, Alert, Group

#: Schedules that can wait until the morning: no login, data or history depends on them.
_NOT_URGENT = {"cache-cleanup"}

_DUE = "nomad_schedule_start_due_timestamp_seconds"
_SUCCESS_DUE = "nomad_schedule_success_due_timestamp_seconds"


def groups(table: Table) -> list[Group]:
    """Return the groups about schedules and schedulers."""
    # A matcher for each declared schedule, which has a queue, and one for all others.
    each: list[tuple[str, JobSchedule | None]] = [(f'schedule="{known.name}"', known) for known in SCHEDULES]
    each.append((f'schedule!~"{"|".join(known.name for known in SCHEDULES)}"', None))
    rules = [alert(table, *which) for alert in (_late, _not_succeeding) for which in each]
    return [
        Group(name="nomad-schedules", rules=rules),
        Group(name="nomad-schedulers", rules=[_silent(table), _suspended(table), _clock(table)]),
    ]


def _late(table: Table, which: str, schedule: JobSchedule | None) -> Alert:
    """Return the alert for the schedules that match `which`; those added at run time have no declared queue."""
    limit = table.alerts.late_start_seconds
    expr = f"time() - {newest('schedule', f'{_DUE}{{{which}}}')} > {number(limit)}"
    return Alert(
        name="NomadScheduleLate",
        expr=expr if schedule is None else _unless_paused(expr, schedule),
        for_seconds=table.alerts.late_start_for_seconds,
        severity=WARNING,
        labels={} if schedule is None else {"schedule": schedule.name},
        summary="The job of a schedule did not start when it was due.",
        description="""
        A slot of schedule {{ $labels.schedule }} has been due for {{ $value | humanizeDuration }} and its job has not
        started. See whether it was added and why it waits: nomad schedules; nomad doctor
        """,
    )


def _not_succeeding(table: Table, which: str, schedule: JobSchedule | None) -> Alert:
    """Return the alert for the schedules that match `which`; the urgency of those added at run time is unknown."""
    alerts = table.alerts
    name = "" if schedule is None else schedule.name
    grace = alerts.success_grace_by_schedule_seconds.get(name, alerts.success_grace_seconds)
    expr = f"time() - {newest('schedule', f'{_SUCCESS_DUE}{{{which}}}')} > {number(grace)}"
    more = "" if schedule is None else f"; nomad jobs {schedule.queue} --status failed"
    return Alert(
        name="NomadScheduleNotSucceeding",
        expr=expr if schedule is None else _unless_paused(expr, schedule),
        for_seconds=alerts.success_for_seconds,
        severity=WARNING if schedule is None or schedule.name in _NOT_URGENT else CRITICAL,
        labels={} if schedule is None else {"schedule": schedule.name},
        summary="The last two runs of a schedule have not succeeded.",
        description=f"""
        At least the last two runs of schedule {{{{ $labels.schedule }}}} have not succeeded; the second was due
        {{{{ $value | humanizeDuration }}}} ago. See how they ended: nomad schedules{more}
        """,
    )


def _unless_paused(expr: str, schedule: JobSchedule) -> str:
    return f'{expr}\nunless on ()\n  max(nomad_queue_paused{{queue="{schedule.queue}"}}) == 1'


def _silent(table: Table) -> Alert:
    heartbeat = 'nomad_scheduler_heartbeat_timestamp_seconds{job="scheduler"}'
    return Alert(
        name="NomadSchedulerSilent",
        # Without Redis no scheduler can check its schedules; that has its own alert.
        expr=f"""
        (
          time() - max({heartbeat}) > {number(table.schedules.silent_seconds)}
          unless on ()
          max(nomad_collector_success{{source="redis"}}) == 0
        )
        or
        absent({heartbeat})
        or
        max(nomad_schedulers{{state="live"}}) == 0
        """,
        for_seconds=table.alerts.silent_for_seconds,
        severity=CRITICAL,
        summary="No scheduler adds due jobs.",
        description="""
        No scheduler has sent a heartbeat for too long: due jobs are not added. See the live ones: nomad schedules; then
        start one: nomad run scheduler
        """,
    )


def _suspended(table: Table) -> Alert:
    return Alert(
        name="NomadSchedulerHolding",
        expr='min(nomad_scheduler_holds{job="scheduler"}) == 1',
        for_seconds=table.alerts.suspended_for_seconds,
        severity=CRITICAL,
        summary="Every scheduler is suspended, because the clocks disagree.",
        description="""
        No scheduler adds due jobs until its clock agrees with Redis'. See the difference: nomad doctor; then fix the
        time service of the host whose clock is wrong
        """,
    )


def _clock(table: Table) -> Alert:
    limit = table.doctor.clock_warning_seconds
    return Alert(
        name="NomadSchedulerClockOff",
        expr=f'abs(nomad_scheduler_clock_offset_seconds{{job="scheduler"}}) > {number(limit)}',
        for_seconds=table.alerts.clock_for_seconds,
        severity=WARNING,
        summary="A scheduler's clock and Redis' clock disagree.",
        description=f"""
        The clock of the scheduler at {{{{ $labels.instance }}}} is {{{{ $value | humanizeDuration }}}} off Redis';
        beyond {in_words(table.doctor.clock_problem_seconds)} it adds no jobs. Fix the time service of the
        host whose clock is wrong; nomad doctor compares the clock of its host
        """,
    )
