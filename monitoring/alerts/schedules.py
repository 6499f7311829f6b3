"""Schedules whose jobs start late or do not succeed, and the schedulers that should add them."""

from __future__ import annotations

from nomad_actors.scheduler import SCHEDULES, Schedule
from nomad_actors.thresholds import Table

from .promql import in_words, newest, number, window
from .rule import CRITICAL, WARNING, Alert, Group

#: Schedules that can wait for the morning: nobody's login, data or history depends on them.
_NOT_URGENT = {"cache-cleanup"}

_DUE = "nomad_schedule_start_due_timestamp_seconds"
_SUCCESS = "nomad_schedule_last_success_timestamp_seconds"
_ENABLED = "nomad_schedule_enabled"


def groups(table: Table) -> list[Group]:
    """Return the groups about schedules and schedulers."""
    late = [_late(table, f'schedule="{each.name}"', each) for each in SCHEDULES]
    declared = "|".join(each.name for each in SCHEDULES)
    success = [_not_succeeding(table, each) for each in SCHEDULES]
    return [
        Group(name="nomad-schedules", rules=[*late, _late(table, f'schedule!~"{declared}"', None), *success]),
        Group(name="nomad-schedulers", rules=[_silent(table), _holding(table), _clock(table)]),
    ]


def _late(table: Table, which: str, schedule: Schedule | None) -> Alert:
    """Return the alert for the schedules that match `which`; those made at run time have no declared queue."""
    limit = table.alerts.late_start_seconds
    expr = f"time() - {newest('schedule', f'{_DUE}{{{which}}}')} > {number(limit)}"
    return Alert(
        name="NomadScheduleLate",
        expr=expr if schedule is None else _unless_paused(expr, schedule),
        for_seconds=table.alerts.late_start_for_seconds,
        severity=WARNING,
        labels={} if schedule is None else {"schedule": schedule.name},
        summary="The job of a schedule has not started when it was due.",
        description="""
        A slot of schedule {{ $labels.schedule }} has been due for {{ $value | humanizeDuration }} and its job has not
        started. See whether it was added and what it waits for: nomad schedules; nomad doctor
        """,
    )


def _not_succeeding(table: Table, schedule: Schedule) -> Alert:
    # Only a schedule that was on all the while, so that one that is switched on again has its time. One that never
    # succeeded has no time of its last success: then it must have been on that long ago.
    limit, which = table.alerts.success_within_seconds[schedule.name], f'schedule="{schedule.name}"'
    within, success = window(limit), newest("schedule", f"{_SUCCESS}{{{which}}}")
    expr = f"""(
  time() - {success} > {number(limit)}
or
  (
    {newest("schedule", f"{_ENABLED}{{{which}}} offset {within}")} == 1
    unless on (schedule)
    {success}
  )
)
and on (schedule)
  max by (schedule) (min_over_time({_ENABLED}{{{which}}}[{within}])) == 1"""
    return Alert(
        name="NomadScheduleNotSucceeding",
        expr=_unless_paused(expr, schedule),
        for_seconds=table.alerts.success_for_seconds,
        severity=WARNING if schedule.name in _NOT_URGENT else CRITICAL,
        labels={"schedule": schedule.name},
        summary="No job of a schedule has succeeded for two of its periods.",
        description=f"""
        No job of schedule {{{{ $labels.schedule }}}} has completed within {in_words(limit)}. See how its last jobs
        ended: nomad schedules; nomad jobs {schedule.queue} --status failed
        """,
    )


def _unless_paused(expr: str, schedule: Schedule) -> str:
    return f'{expr}\nunless on ()\n  max(nomad_queue_paused{{queue="{schedule.queue}"}}) == 1'


def _silent(table: Table) -> Alert:
    heartbeat = 'nomad_scheduler_heartbeat_timestamp_seconds{job="scheduler"}'
    return Alert(
        name="NomadSchedulerSilent",
        # Without Redis no scheduler can look: then it is that which is told.
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
        summary="No scheduler adds what is due.",
        description="""
        No scheduler was heard of for too long: nothing that is due is added. See who lives: nomad schedules; then
        start one: nomad run scheduler
        """,
    )


def _holding(table: Table) -> Alert:
    return Alert(
        name="NomadSchedulerHolding",
        expr='min(nomad_scheduler_holds{job="scheduler"}) == 1',
        for_seconds=table.alerts.holds_for_seconds,
        severity=CRITICAL,
        summary="Every scheduler holds, because the clocks do not agree.",
        description="""
        No scheduler adds what is due until its clock agrees with Redis'. See how far they are apart: nomad doctor; then
        mend the time service of the host that is wrong
        """,
    )


def _clock(table: Table) -> Alert:
    limit = table.doctor.clock_warning_seconds
    return Alert(
        name="NomadSchedulerClockOff",
        expr=f'abs(nomad_scheduler_clock_offset_seconds{{job="scheduler"}}) > {number(limit)}',
        for_seconds=table.alerts.clock_for_seconds,
        severity=WARNING,
        summary="A scheduler's clock and Redis' drift apart.",
        description=f"""
        The clock of the scheduler at {{{{ $labels.instance }}}} is {{{{ $value | humanizeDuration }}}} off Redis';
        beyond {in_words(table.doctor.clock_problem_seconds)} it adds nothing. Mend the time service of the
        host that is wrong; nomad doctor compares this host's
        """,
    )
