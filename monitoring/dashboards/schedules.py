"""Schedules and schedulers: what should have happened, and did it."""

from __future__ import annotations

from nomad_actors.thresholds import Table

from .dashboard import Dashboard, Row, Variable
from .limits import ANY_IS_WORTH_A_LOOK, ANY_IS_WRONG, GREEN, ONE_IS_NEEDED, YELLOW, beyond, in_words
from .panels import Column, Panel, Query, graph, stat, table_of
from .promises import of_scheduler, overdue_seconds, since_success_seconds, success_graces, success_overdue_seconds
from .queries import newest

SCHEDULE = 'schedule=~"$schedule"'
_ON_OR_OFF = {1: ("on", GREEN), 0: ("off", YELLOW)}


def schedules(table: Table) -> Dashboard:
    """Return the dashboard with the limits of the table."""
    return Dashboard(
        uid="nomad-schedules",
        title="EVE Nomad: schedules",
        description="Schedules and schedulers: what should have happened, and did it.",
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
            "Schedules that add jobs; an operator may have stopped others.",
            f"sum({newest('schedule', 'nomad_schedule_enabled', SCHEDULE)})",
        ),
        stat(
            "Schedules that are overdue",
            f"""Schedules whose slot has not started {in_words(late)} after it was due: nobody added its job, or the job
            waits. Schedules that are off are not counted; without an answer none is on.""",
            f"sum({overdue_seconds(SCHEDULE)} > bool {late:g})",
            limits=ANY_IS_WRONG,
        ),
        stat(
            "Live schedulers",
            f"Schedulers that Redis heard of within {in_words(silent)}. With none, no schedule adds a job.",
            'max(nomad_schedulers{state="live"})',
            limits=ONE_IS_NEEDED,
        ),
        stat(
            "Silent schedulers",
            f"""Schedulers that Redis last heard of more than {in_words(silent)} and less than a day ago, and that did
            not say good-bye.""",
            'max(nomad_schedulers{state="silent"})',
            limits=ANY_IS_WORTH_A_LOOK,
        ),
        stat(
            "Schedulers that hold",
            "Schedulers that add nothing because their clock and Redis' do not agree. When all hold, none is added.",
            f"sum({of_scheduler('nomad_scheduler_holds')})",
            limits=ANY_IS_WORTH_A_LOOK,
        ),
        stat(
            "Clocks apart",
            f"""How far a scheduler's clock and Redis' are apart; beyond {in_words(doctor.clock_problem_seconds)} the
            scheduler holds.""",
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
            first slot that has not started were due: below 0 they will be, above they are overdue.""",
            "schedule",
            [
                Column(
                    title="On",
                    expr=newest("schedule", "nomad_schedule_enabled", SCHEDULE),
                    unit="none",
                    words=_ON_OR_OFF,
                ),
                Column(title="Last success, ago", expr=since_success_seconds(SCHEDULE), unit="s"),
                Column(
                    title="Success due, ago",
                    expr=success_overdue_seconds(SCHEDULE),
                    unit="s",
                    limits=beyond(grace),
                ),
                Column(title="Due, ago", expr=overdue_seconds(SCHEDULE), unit="s", limits=beyond(late)),
            ],
        ),
        graph(
            "Overdue, by schedule",
            f"""How long ago the first slot that has not started was due; 0 while none is. The line is the alert's, at
            {in_words(late)}.""",
            [Query(expr=f"clamp_min({overdue_seconds(SCHEDULE)}, 0)", legend="{{schedule}}")],
            unit="s",
            limits=beyond(late),
        ),
        graph(
            "Success overdue, by schedule",
            f"""How long ago the second run since the last success was due; 0 while it is to come. The line is the
            alert's for most. So long its job may take to end: {success_graces(table)}.""",
            [Query(expr=f"clamp_min({success_overdue_seconds(SCHEDULE)}, 0)", legend="{{schedule}}")],
            unit="s",
            limits=beyond(grace),
        ),
        graph(
            "Missed in 1 h",
            """Slots of the last hour that got no job: no scheduler was there in time, the job was refused, or the
            previous one was not over. The schedule's page in the admin says which.""",
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
            "How long ago a job of the schedule last completed. Missing until one has.",
            [Query(expr=since_success_seconds(SCHEDULE), legend="{{schedule}}")],
            unit="s",
            width=8,
        ),
        graph(
            "On or off",
            "1 while the schedule is on, 0 while an operator keeps it off.",
            [Query(expr=newest("schedule", "nomad_schedule_enabled", SCHEDULE), legend="{{schedule}}")],
            unit="short",
            width=8,
        ),
    ]


def _schedulers(table: Table) -> list[Panel]:
    doctor = table.doctor
    return [
        graph(
            "Since a scheduler's last look",
            """How long ago each scheduler looked at its schedules; it looks every 1.6 s. The line is where it counts as
            silent.""",
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
            """How far each scheduler's clock is ahead of Redis', below 0 behind it. The lines are where it is worth a
            look, and where the scheduler holds.""",
            [Query(expr=of_scheduler("nomad_scheduler_clock_offset_seconds"), legend="{{instance}}")],
            unit="s",
            limits=beyond(doctor.clock_problem_seconds, warning=doctor.clock_warning_seconds),
            width=8,
            defaults={},
        ),
        graph(
            "Redis' clock",
            """By how much each queue goes behind Redis' clock, because that stepped ahead; below 0 when it stepped
            back. The lines are where it is worth a look.""",
            [Query(expr="max by (queue) (nomad_queue_clock_offset_seconds)", legend="{{queue}}")],
            unit="s",
            limits=beyond(doctor.clock_problem_seconds),
            width=8,
            defaults={},
        ),
        graph(
            "Schedulers, by state",
            "Schedulers that Redis heard of lately, and those that fell silent without a good-bye.",
            [Query(expr="max by (state) (nomad_schedulers)", legend="{{state}}")],
            unit="short",
        ),
        graph(
            "Holding",
            "1 while a scheduler adds nothing because its clock and Redis' do not agree.",
            [Query(expr=of_scheduler("nomad_scheduler_holds"), legend="{{instance}}")],
            unit="short",
            limits=ANY_IS_WRONG,
        ),
    ]
