"""PromQL expressions that several rules and panels use.

Several admins export the same values from Redis, so these are never summed: the maximum is taken (`newest`,
`attempts`). Metrics that processes count are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

#: A range shorter than four scrapes (a second each with a small time factor) may contain no increase.
LEAST_RANGE_SECONDS = 4.0

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))
_WORDS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds", "ms": "ms"}


def duration(seconds: float) -> str:
    """Return a duration in Prometheus' form: `4h10m`, `5s10ms`."""
    return "".join(f"{count}{unit}" for count, unit in _split(seconds)) or "0s"


def window(seconds: float) -> str:
    """Return the range of a rate or an increase, never shorter than four scrapes."""
    return duration(max(seconds, LEAST_RANGE_SECONDS))


def in_words(seconds: float) -> str:
    """Return a duration in words: `4 hours 10 minutes`."""
    return " ".join(f"{count} {_WORDS[unit][: -1 if count == 1 else None]}" for count, unit in _split(seconds))


def number(value: float) -> str:
    """Return a number as a literal, without floating-point errors."""
    return f"{value:.10g}"


def selector(name: str, *matchers: str) -> str:
    """Return a metric with matchers."""
    return f"{name}{{{', '.join(matchers)}}}" if matchers else name


def newest(by: str, name: str, *matchers: str) -> str:
    """Return a gauge of the admin, one series for each value of the labels `by`."""
    return f"max by ({by}) ({selector(name, *matchers)})"


def attempts(function: str, matchers: str, over: str) -> str:
    """Return the `rate` or `increase` of ended runs by queue, as counted in Redis."""
    runs = f"{function}(nomad_job_attempts_total{{{matchers}}}[{over}])"
    return f"sum by (queue) (max by (queue, actor, outcome) ({runs}))"


def unless_paused(expr: str) -> str:
    """Return an expression by queue without paused queues, whose jobs wait on purpose."""
    return f"{expr}\nunless on (queue)\n  max by (queue) (nomad_queue_paused) == 1"


def by_limit(limits: Mapping[str, float | None], others: float | None, compare: Callable[[str, float], str]) -> str:
    """Return one expression for queues with their own limits and all `others`; queues without a limit are left out.

    `compare` builds the comparison from a matcher of the queue and its limit.
    """
    clauses = [] if others is None else [compare(_others(list(limits)), others)]
    clauses += [compare(f'queue="{queue}"', limit) for queue, limit in limits.items() if limit is not None]
    return "(\n  " + "\nor\n  ".join(clauses) + "\n)" if len(clauses) > 1 else clauses[0]


def _others(queues: Sequence[str]) -> str:
    return f'queue!="{queues[0]}"' if len(queues) == 1 else f'queue!~"{"|".join(queues)}"'


def _split(seconds: float) -> list[tuple[int, str]]:
    rest, found = round(seconds * 1000), []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            found.append((count, unit))
    return found
