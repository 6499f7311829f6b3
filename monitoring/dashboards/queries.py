"""PromQL queries that several panels use."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..alerts.promql import duration, newest, selector

#: Grafana's variable: at least four scrapes.
RATE = "$__rate_interval"

#: The dashboards' variables as matchers.
QUEUE = 'queue=~"$queue"'
ACTOR = 'actor=~"$actor"'
JOBS = f'job=~"$job", {QUEUE}, {ACTOR}'

#: Outcomes of ended jobs: all of them, the two that rates use, and those for which a worker was busy.
OVER = 'outcome=~"completed|failed|skipped|cancelled"'
ENDED = 'outcome=~"completed|failed"'
RUN_BY_WORKERS = 'outcome=~"completed|failed|skipped"'
FAILED = 'outcome="failed"'


def seconds_since(by: str, name: str, *matchers: str) -> str:
    """Return how long ago a timestamp of the admin's was, by labels; negative if it is in the future."""
    return f"time() - {newest(by, name, *matchers)}"


def jobs(by: str, states: str) -> str:
    """Return the number of jobs of the selected queues in states such as `waiting|paused`, by labels."""
    return newest(by, "nomad_queue_jobs", QUEUE, f'state=~"{states}"' if "|" in states else f'state="{states}"')


def rate(by: str, name: str, *matchers: str) -> str:
    """Return a counter's increase per second, summed by labels (none: over all)."""
    return f"{_sum(by)}(rate({selector(name, *matchers)}[{RATE}]))"


def increase(by: str, window: str, name: str, *matchers: str) -> str:
    """Return a counter's increase over a window such as `1h`, summed by labels (none: over all)."""
    return f"{_sum(by)}(increase({selector(name, *matchers)}[{window}]))"


def attempts(by: str, *matchers: str, function: str = "rate", window: str = RATE) -> str:
    """Return the rate or increase of ended runs, as counted in Redis, summed by labels (none: over all)."""
    change = f"{function}({selector('nomad_job_attempts_total', *matchers)}[{window}])"
    return f"{_sum(by)}(max by (queue, actor, outcome) ({change}))"


def quantile(share: float, by: str, histogram: str, *matchers: str) -> str:
    """Return a quantile of a histogram's observations, by labels (none: over all)."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, {rate(labels, histogram + '_bucket', *matchers)})"


def failed_share(by: str, window_seconds: float, least_ended: int, *matchers: str) -> str:
    """Return the failed share of ended jobs over a window; no value if fewer than `least_ended` ended."""
    window = duration(window_seconds)
    failed, ended = (
        attempts(by, *matchers, outcome, function="increase", window=window) for outcome in (FAILED, ENDED)
    )
    # Half a job fewer, because `increase` extrapolates and returns 19.9 for 20.
    return f"{failed} / ({ended} > {least_ended - 0.5:g})"


def of_limit(query: Callable[[str], str], label: str, limits: Mapping[str, float], others: float | None = None) -> str:
    """Return series as shares of their limits: `limits` by the value of `label`, and `others` for all other values.

    `query` returns the query with one more matcher; without `others`, series of other values are left out.
    """
    shares = [f"{query(_matcher(label, '=', name))} / {limit:g}" for name, limit in limits.items()]
    if others is not None:
        shares.append(f"{query(_matcher(label, '!~', '|'.join(limits)))} / {others:g}")
    return " or ".join(shares)


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"


def _matcher(label: str, operator: str, value: str) -> str:
    return f'{label}{operator}"{value}"'
