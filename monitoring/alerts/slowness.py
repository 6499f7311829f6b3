"""Jobs that take much longer than usual."""

from __future__ import annotations

from nomad_actors import thresholds
from nomad_actors.thresholds import Table

from .promql import duration, in_words, number, window
from .rule import LONG_EVALUATION_SECONDS, WARNING, Alert, Group, Recording

_MEAN = "queue_actor:nomad_job_duration_seconds:mean"
#: Recorded mean durations of completed runs, by queue and job type: the current mean and its baseline, and both for job
#: types that run rarely.
MEAN = f"{_MEAN}{duration(thresholds.ALERTS.slow_window_seconds)}"
NORMAL_MEAN = f"{_MEAN}{duration(thresholds.ALERTS.slow_baseline_seconds)}"
RARE_MEAN = f"{_MEAN}{duration(thresholds.ALERTS.slow_rare_window_seconds)}"
RARE_NORMAL_MEAN = f"{NORMAL_MEAN}_offset{duration(thresholds.ALERTS.slow_rare_baseline_offset_seconds)}"


def groups(table: Table) -> list[Group]:
    """Return the group about slowness."""
    return [Group(name="nomad-slowness", interval_seconds=LONG_EVALUATION_SECONDS, rules=_slow(table))]


def _slow(table: Table) -> list[Recording | Alert]:
    alerts = table.alerts
    over = f"[{window(alerts.slow_baseline_seconds)}] offset"
    return [
        _mean(MEAN, f"[{window(alerts.slow_window_seconds)}]", alerts.slow_least_runs),
        _mean(
            NORMAL_MEAN,
            f"{over} {duration(alerts.slow_baseline_offset_seconds)}",
            alerts.slow_baseline_least_runs,
        ),
        Alert(
            name="NomadJobsSlow",
            expr=_slower(MEAN, alerts.slow_times, NORMAL_MEAN, alerts.slow_least_mean_seconds),
            for_seconds=alerts.slow_for_seconds,
            severity=WARNING,
            summary="Jobs take much longer than usual.",
            description=f"""
            A run of {{{{ $labels.actor }}}} takes {{{{ $value | humanizeDuration }}}} on average, more than
            {alerts.slow_times:g} times its mean of the last {in_words(alerts.slow_baseline_seconds)}. See the running
            jobs: nomad jobs {{{{ $labels.queue }}}} --status active
            """,
        ),
        _mean(RARE_MEAN, f"[{window(alerts.slow_rare_window_seconds)}]", alerts.slow_rare_least_runs),
        _mean(
            RARE_NORMAL_MEAN,
            f"{over} {duration(alerts.slow_rare_baseline_offset_seconds)}",
            alerts.slow_rare_baseline_least_runs,
        ),
        _slow_and_rare(table),
    ]


def _slow_and_rare(table: Table) -> Alert:
    """Return the alert for job types that rarely have enough runs for the other one."""
    alerts, day = table.alerts, duration(thresholds.ALERTS.slow_rare_window_seconds)
    slower = _slower(RARE_MEAN, alerts.slow_rare_times, RARE_NORMAL_MEAN, alerts.slow_least_mean_seconds)
    often = alerts.slow_least_runs * alerts.slow_rare_window_seconds / alerts.slow_window_seconds
    runs = f"increase(nomad_job_duration_seconds_count[{window(alerts.slow_rare_window_seconds)}])"
    return Alert(
        name="NomadJobsSlow",
        expr=f"{slower}\nunless on (queue, actor)\nsum by (queue, actor) ({runs}) > {number(often)}",
        for_seconds=alerts.slow_for_seconds,
        severity=WARNING,
        labels={"window": day},
        summary="Jobs take much longer than usual.",
        description=f"""
        The runs of {{{{ $labels.actor }}}} took {{{{ $value | humanizeDuration }}}} on average over
        {in_words(alerts.slow_rare_window_seconds)}, more than {alerts.slow_rare_times:g} times their mean of the
        {in_words(alerts.slow_baseline_seconds)} before. See the latest runs:
        nomad jobs {{{{ $labels.queue }}}} --status completed
        """,
    )


def _slower(mean: str, times: float, normal: str, least_seconds: float) -> str:
    return f"{mean} > {number(times)} * {normal}\nand\n{mean} > {number(least_seconds)}"


def _mean(name: str, over: str, least_runs: int) -> Recording:
    """Return the recording of the mean of completed runs; without `least_runs` runs it has no value."""
    return Recording(
        name=name,
        expr=f"""
        sum by (queue, actor) (increase(nomad_job_duration_seconds_sum{over}))
          /
        (sum by (queue, actor) (increase(nomad_job_duration_seconds_count{over})) > {number(least_runs - 0.5)})
        """,
    )
