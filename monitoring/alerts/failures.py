"""Jobs that fail permanently: too many of a queue, or faster than its objective allows."""

from __future__ import annotations

from nomad_actors import thresholds
from nomad_actors.thresholds import BurnWindow, Table

from .promql import attempts, duration, in_words, number, window
from .rule import CRITICAL, LONG_EVALUATION_SECONDS, WARNING, Alert, Group, Recording

#: The outcomes that count as ended, as in health, and the one that counts as failed.
_ENDED, _FAILED = 'outcome=~"completed|failed"', 'outcome="failed"'

#: Pairs of windows up to this (real) one are evaluated with the quick rules.
_QUICK_SECONDS = 3600


def groups(table: Table) -> list[Group]:
    """Return the groups about failures."""
    pairs = list(zip(thresholds.ALERTS.burns, table.alerts.burns, strict=True))
    quick = [pair for pair in pairs if pair[0].long_seconds <= _QUICK_SECONDS]
    slow = [pair for pair in pairs if pair not in quick]
    rare = {
        getattr(thresholds.ALERTS, name): getattr(table.alerts, name)
        for name in ("failure_rare_window_seconds", "failure_rare_short_window_seconds")
    }
    return [
        Group(
            name="nomad-failures",
            rules=[
                *_shares({thresholds.DEFAULT.failure_window_seconds: table.default.failure_window_seconds}, quick),
                _failing(table),
                *(_burning(table, *pair) for pair in quick),
            ],
        ),
        Group(
            name="nomad-failures-long",
            interval_seconds=LONG_EVALUATION_SECONDS,
            rules=[*_shares(rare, slow), *(_burning(table, *pair) for pair in slow), _failing_and_rare(table)],
        ),
    ]


def _shares(windows: dict[int, int], pairs: list[tuple[BurnWindow, BurnWindow]]) -> list[Recording]:
    """Return recordings of the ended jobs and the failed share over each window (`windows`: real to scaled seconds)."""
    for real, scaled in pairs:
        windows |= {real.long_seconds: scaled.long_seconds, real.short_seconds: scaled.short_seconds}
    found = []
    for real_seconds, seconds in sorted(windows.items()):
        name, over = duration(real_seconds), window(seconds)
        ended = f"queue:nomad_jobs_ended:increase{name}"
        found += [
            Recording(name=ended, expr=attempts("increase", _ENDED, over)),
            Recording(
                name=f"queue:nomad_jobs_failed_per_ended:ratio{name}",
                expr=f"""
                {attempts("increase", _FAILED, over)}
                  /
                ({ended} > 0)
                """,
            ),
        ]
    return found


def _failing(table: Table) -> Alert:
    limits, name = table.default, duration(thresholds.DEFAULT.failure_window_seconds)
    return Alert(
        name="NomadFailureRateHigh",
        expr=f"""
        queue:nomad_jobs_failed_per_ended:ratio{name} > {number(limits.failure_percent / 100)}
        and
        queue:nomad_jobs_ended:increase{name} > {number(limits.failure_least_ended - 0.5)}
        """,
        for_seconds=table.alerts.failing_for_seconds,
        severity=CRITICAL,
        summary="Too many jobs of a queue fail permanently.",
        description=f"""
        {{{{ $value | humanizePercentage }}}} of the jobs of queue {{{{ $labels.queue }}}} that ended within
        {in_words(limits.failure_window_seconds)} failed (limit {limits.failure_percent:g} %). See why:
        nomad failures {{{{ $labels.queue }}}}
        """,
    )


def _failing_and_rare(table: Table) -> Alert:
    """Return the alert for queues with too few ended jobs for the others: a nightly job that fails each night."""
    alerts, real = table.alerts, thresholds.ALERTS
    name, short = duration(real.failure_rare_window_seconds), duration(real.failure_rare_short_window_seconds)
    limit = number(alerts.failure_rare_percent / 100)
    return Alert(
        name="NomadFailureRateHigh",
        expr=f"""
        queue:nomad_jobs_failed_per_ended:ratio{name} > {limit}
        and
        queue:nomad_jobs_failed_per_ended:ratio{short} > {limit}
        and
        queue:nomad_jobs_ended:increase{name} > {number(alerts.failure_rare_least_ended - 0.5)}
        and
        queue:nomad_jobs_ended:increase{name} < {number(alerts.burn_least_ended - 0.5)}
        """,
        for_seconds=alerts.failing_for_seconds,
        severity=WARNING,
        labels={"window": name},
        summary="Too many jobs of a queue fail permanently.",
        description=f"""
        {{{{ $value | humanizePercentage }}}} of the few jobs of queue {{{{ $labels.queue }}}} that ended within
        {in_words(alerts.failure_rare_window_seconds)} failed (limit {alerts.failure_rare_percent:g} %). See why:
        nomad failures {{{{ $labels.queue }}}}
        """,
    )


def _burning(table: Table, real: BurnWindow, scaled: BurnWindow) -> Alert:
    alerts = table.alerts
    long, short = duration(real.long_seconds), duration(real.short_seconds)
    limit = number(scaled.factor * (100 - alerts.completion_objective_percent) / 100)
    return Alert(
        name="NomadErrorBudgetBurn",
        expr=f"""
        queue:nomad_jobs_failed_per_ended:ratio{long} > {limit}
        and
        queue:nomad_jobs_failed_per_ended:ratio{short} > {limit}
        and
        queue:nomad_jobs_ended:increase{long} > {number(alerts.burn_least_ended - 0.5)}
        """,
        for_seconds=scaled.for_seconds,
        severity=scaled.severity,
        labels={"long": long, "short": short},
        summary="Jobs of a queue fail faster than its objective allows.",
        description=f"""
        {{{{ $value | humanizePercentage }}}} of the jobs of queue {{{{ $labels.queue }}}} failed over
        {in_words(scaled.long_seconds)}, and still do: more than {scaled.factor:g} x the
        {100 - alerts.completion_objective_percent:g} % that its objective allows.
        See why: nomad failures {{{{ $labels.queue }}}}
        """,
    )
