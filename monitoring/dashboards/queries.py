"""The questions that several panels ask, in PromQL.

What the admin reads from Redis is the same whichever of several admins reads it: it is never summed over them, but the
largest answer taken (`newest`, `attempts`). What processes count is summed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

#: Grafana's: four scrapes at least.
RATE = "$__rate_interval"

#: The variables as matchers.
QUEUE = 'queue=~"$queue"'
ACTOR = 'actor=~"$actor"'
JOBS = f'job=~"$job", {QUEUE}, {ACTOR}'

#: What became of jobs that are over: all of them, the two that are judged, and those that a worker was busy with.
OVER = 'outcome=~"completed|failed|skipped|cancelled"'
ENDED = 'outcome=~"completed|failed"'
WORKED_OFF = 'outcome=~"completed|failed|skipped"'
FAILED = 'outcome="failed"'


def newest(by: str, name: str, *matchers: str) -> str:
    """Return a gauge of the admin's collector, one series for each value of the labels `by`."""
    return f"max by ({by}) ({selector(name, *matchers)})"


def selector(name: str, *matchers: str) -> str:
    """Return a metric with matchers."""
    return f"{name}{{{', '.join(matchers)}}}" if matchers else name


def jobs(by: str, states: str) -> str:
    """Return how many jobs the chosen queues hold in states such as `waiting|paused`, by labels."""
    return newest(by, "nomad_queue_jobs", QUEUE, f'state=~"{states}"' if "|" in states else f'state="{states}"')


def rate(by: str, name: str, *matchers: str) -> str:
    """Return a counter's rise a second, summed by labels (none: over all)."""
    return f"{_sum(by)}(rate({selector(name, *matchers)}[{RATE}]))"


def increase(by: str, window: str, name: str, *matchers: str) -> str:
    """Return a counter's rise over a window such as `1h`, summed by labels (none: over all)."""
    return f"{_sum(by)}(increase({selector(name, *matchers)}[{window}]))"


def attempts(by: str, *matchers: str, function: str = "rate", window: str = RATE) -> str:
    """Return the rate or increase of ended runs, summed by labels (none: over all).

    Redis counts them, whatever happens to a worker.
    """
    rise = f"{function}({selector('nomad_job_attempts_total', *matchers)}[{window}])"
    return f"{_sum(by)}(max by (queue, actor, outcome) ({rise}))"


def quantile(share: float, by: str, histogram: str, *matchers: str) -> str:
    """Return a quantile of a histogram's observations, by labels (none: over all)."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, {rate(labels, histogram + '_bucket', *matchers)})"


def failed_share(by: str, window_seconds: float, least_ended: int, *matchers: str) -> str:
    """Return the share of failed among ended jobs over a window; no answer where fewer than `least_ended` ended."""
    window = prometheus_duration(window_seconds)
    failed, ended = (
        attempts(by, *matchers, outcome, function="increase", window=window) for outcome in (FAILED, ENDED)
    )
    # Half a job fewer: `increase` reckons beyond the samples, and finds 19.9 of 20.
    return f"{failed} / ({ended} > {least_ended - 0.5:g})"


def of_limit(
    question: Callable[[str], str], label: str, limits: Mapping[str, float], others: float | None = None
) -> str:
    """Return series as shares of their limits: of `limits` by the value of `label`, of `others` for all other values.

    `question` returns the query with one more matcher; without `others`, series of other values have no share.
    """
    parts = [f"{question(_matcher(label, '=', name))} / {limit:g}" for name, limit in limits.items()]
    if others is not None:
        parts.append(f"{question(_matcher(label, '!~', '|'.join(limits)))} / {others:g}")
    return " or ".join(parts)


def prometheus_duration(seconds: float) -> str:
    """Return a duration as Prometheus writes it: the largest unit that divides it."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms"


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"


def _matcher(label: str, operator: str, value: str) -> str:
    return f'{label}{operator}"{value}"'
