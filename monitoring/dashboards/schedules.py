"""Schedules and schedulers: which runs were due, and whether they succeeded."""

from __future__ import annotations

from nomad_actors.thresholds import Table

from ..alerts.promql import newest
from .dashboard import Dashboard, Row, Variable
from .limits import ANY_IS_A_WARNING, ANY_IS_WRONG, GREEN, ONE_IS_NEEDED, YELLOW, beyond, in_words
from .panels import Column, Panel, Query, graph, stat, table_of
from .promises import of_scheduler, success_graces
from .queries import seconds_since

SCHEDULE = 'schedule=~"$schedule"'
#: How long ago was: the first slot that has not started, the second run since the last success, the last success.
_SINCE_DUE, _SINCE_SUCCESS_DUE, _SINCE_SUCCESS = (
    seconds_since("schedule", f"nomad_schedule_{moment}_timestamp_seconds", SCHEDULE)
    for moment in ("start_due", "success_due", "last_success")
)
_ON_OR_OFF = {1: ("on", GREEN), 0: ("off", YELLOW)}


def schedules(table: Table) -> Dashboard:
    """Return the dashboard with the limits of the table."""
    return Dashboard(
        uid="nomad-schedules",
        title="EVE Nomad: schedules",
        description="Schedules and schedulers: which runs were due, and whether they succeeded.",
        variables=[Variable(name="schedule", label="Schedule", series="nomad_schedule_enabled")],
        rows=[
            Row("Now", _now(table)),
            Row("Schedules", _schedules(table)),
            Row("Schedulers", _schedulers(table)),
        ],
    )


def _now(table: Table) -> list[Panel]:
    late, silent, doctor = table.alerts.late_start_seconds, table.schedules.silent_seconds, table.doctor
    return [
        stat(
            "Schedules that are on",
            "Schedules that add jobs. An operator may have stopped others.",
            f"sum({newest('schedule', 'nomad_schedule_enabled', SCHEDULE)})",
        ),
        stat(
            "Schedules that are overdue",
            f"""Schedules whose slot has not started {in_words(late)} after it was due: its job was not added, or is
            waiting. Schedules that are off are not counted. Without data, no schedule is on.""",
            f"sum({_SINCE_DUE} > bool {late:g})",
            limits=ANY_IS_WRONG,
        ),
        stat(
            "Live schedulers",
            f"Schedulers with a heartbeat within {in_words(silent)}. Without one, no schedule adds jobs.",
            'max(nomad_schedulers{state="live"})',
            limits=ONE_IS_NEEDED,
        ),
        stat(
            "Silent schedulers",
            f"""Schedulers whose last heartbeat was more than {in_words(silent)} and less than a day ago, and that did
            not stop regularly.""",
            'max(nomad_schedulers{state="silent"})',
            limits=ANY_IS_A_WARNING,
        ),
        stat(
            "Suspended schedulers",
            "Schedulers that add no jobs because their clock and Redis' disagree. If all are, no job is added.",
            f"sum({of_scheduler('nomad_scheduler_holds')})",
            limits=ANY_IS_A_WARNING,
        ),
        stat(
            "Clock difference",
            f"""The difference between a scheduler's clock and Redis'; beyond {in_words(doctor.clock_problem_seconds)}
            the scheduler is suspended.""",
            f"max(abs({of_scheduler('nomad_scheduler_clock_offset_seconds')}))",
            unit="s",
            limits=beyond(doctor.clock_problem_seconds, warning=doctor.clock_warning_seconds),
        ),
    ]


def _schedules(table: Table) -> list[Panel]:
    late = table.alerts.late_start_seconds
    grace = table.alerts.success_grace_seconds
    return [
        table_of(
            "Every schedule",
            """Whether it is on, how long ago its job last completed, and how long ago its second run since then and its
            first slot that has not started were due. Negative: not due yet.""",
            "schedule",
            [
                Column(
                    title="On",
                    expr=newest("schedule", "nomad_schedule_enabled", SCHEDULE),
                    unit="none",
                    words=_ON_OR_OFF,
                ),
                Column(title="Last success, ago", expr=_SINCE_SUCCESS, unit="s"),
                Column(
                    title="Success due, ago",
                    expr=_SINCE_SUCCESS_DUE,
                    unit="s",
                    limits=beyond(grace),
                ),
                Column(title="Due, ago", expr=_SINCE_DUE, unit="s", limits=beyond(late)),
            ],
        ),
        graph(
            "Overdue, by schedule",
            f"""How long ago the first slot that has not started was due; 0 if none is. The line is the alert's
            threshold, {in_words(late)}.""",
            [Query(expr=f"clamp_min({_SINCE_DUE}, 0)", legend="{{schedule}}")],
            unit="s",
            limits=beyond(late),
        ),
        graph(
            "Success overdue, by schedule",
            f"""How long ago the second run since the last success was due; 0 if it is not due yet. The line is
            the alert's threshold for most schedules. All thresholds: {success_graces(table)}.""",
            [Query(expr=f"clamp_min({_SINCE_SUCCESS_DUE}, 0)", legend="{{schedule}}")],
            unit="s",
            limits=beyond(grace),
        ),
        graph(
            "Missed in 1 h",
            """Slots of the last hour that got no job: no scheduler ran in time, the job was refused, or the
            previous one had not ended. The schedule's page in the admin shows the reason.""",
            [
                Query(
                    expr=f"""max by (schedule)
                    (round(increase(nomad_schedule_missed_total{{{SCHEDULE}}}[1h])))""",
                    legend="{{schedule}}",
                )
            ],
            unit="short",
            width=8,
        ),
        graph(
            "Since the last success",
            "How long ago a job of the schedule last completed. Missing until one completed.",
            [Query(expr=_SINCE_SUCCESS, legend="{{schedule}}")],
            unit="s",
            width=8,
        ),
        graph(
            "On or off",
            "1 while the schedule is on, 0 while it is off.",
            [Query(expr=newest("schedule", "nomad_schedule_enabled", SCHEDULE), legend="{{schedule}}")],
            unit="short",
            width=8,
        ),
    ]


def _schedulers(table: Table) -> list[Panel]:
    doctor = table.doctor
    return [
        graph(
            "Since a scheduler's last check",
            """How long ago each scheduler checked its schedules, which it does every 1.6 s. From the line on it counts
            as silent.""",
            [
                Query(
                    expr=f"time() - {of_scheduler('nomad_scheduler_heartbeat_timestamp_seconds')}",
                    legend="{{instance}}",
                )
            ],
            unit="s",
            width=8,
            limits=beyond(table.schedules.silent_seconds),
        ),
        graph(
            "Clock offset",
            """How far each scheduler's clock is ahead of Redis' (negative: behind). The lines are the warning, and
            where the scheduler is suspended.""",
            [Query(expr=of_scheduler("nomad_scheduler_clock_offset_seconds"), legend="{{instance}}")],
            unit="s",
            limits=beyond(doctor.clock_problem_seconds, warning=doctor.clock_warning_seconds),
            width=8,
            defaults={},
        ),
        graph(
            "Redis' clock",
            """How far each queue's clock is behind Redis' clock, after that stepped forward; negative after a step
            back. The line is the alert's threshold.""",
            [Query(expr="max by (queue) (nomad_queue_clock_offset_seconds)", legend="{{queue}}")],
            unit="s",
            limits=beyond(doctor.clock_problem_seconds),
            width=8,
            defaults={},
        ),
        graph(
            "Schedulers, by state",
            "Schedulers with a recent heartbeat (live), and those without that did not stop regularly (silent).",
            [Query(expr="max by (state) (nomad_schedulers)", legend="{{state}}")],
            unit="short",
        ),
        graph(
            "Suspended",
            "1 while a scheduler adds no jobs because its clock and Redis' disagree.",
            [Query(expr=of_scheduler("nomad_scheduler_holds"), legend="{{instance}}")],
            unit="short",
            limits=ANY_IS_WRONG,
        ),
    ]
