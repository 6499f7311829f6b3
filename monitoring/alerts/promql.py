"""PromQL's words for what the rules say again and again.

What the admin reads from Redis is the same whichever of several admins reads it: it is never summed, but the largest
answer taken (`newest`, `attempts`). What processes count is summed over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

#: A range shorter than four scrapes (a second each in fast motion) may hold no rise at all.
LEAST_RANGE_SECONDS = 4.0

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))
_WORDS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds", "ms": "ms"}


def duration(seconds: float) -> str:
    """Return a time as Prometheus writes it: `4h10m`, `5s10ms`."""
    return "".join(f"{count}{unit}" for count, unit in _split(seconds)) or "0s"


def window(seconds: float) -> str:
    """Return the range of a rate or an increase, never shorter than four scrapes."""
    return duration(max(seconds, LEAST_RANGE_SECONDS))


def in_words(seconds: float) -> str:
    """Return a time as a sentence says it: `4 hours 10 minutes`."""
    return " ".join(f"{count} {_WORDS[unit][: -1 if count == 1 else None]}" for count, unit in _split(seconds))


def number(value: float) -> str:
    """Return a number as a literal, without the dust of floating point."""
    return f"{value:.10g}"


def newest(by: str, selector: str) -> str:
    """Return a gauge of the admin, one series for each value of the labels `by`."""
    return f"max by ({by}) ({selector})"


def attempts(function: str, matchers: str, over: str) -> str:
    """Return the `rate` or `increase` of ended runs by queue: Redis' own count, whatever happens to a worker."""
    runs = f"{function}(nomad_job_attempts_total{{{matchers}}}[{over}])"
    return f"sum by (queue) (max by (queue, actor, outcome) ({runs}))"


def unless_paused(expr: str) -> str:
    """Return an expression by queue without the queues that somebody has paused: what waits there is meant to."""
    return f"{expr}\nunless on (queue)\n  max by (queue) (nomad_queue_paused) == 1"


def by_limit(limits: Mapping[str, float | None], others: float | None, ask: Callable[[str, float], str]) -> str:
    """Return one expression for queues with limits of their own and all `others`; without a limit it asks nothing.

    `ask` makes the comparison from a matcher of the queue and its limit.
    """
    asked = [] if others is None else [ask(_others(list(limits)), others)]
    asked += [ask(f'queue="{queue}"', limit) for queue, limit in limits.items() if limit is not None]
    return "(\n  " + "\nor\n  ".join(asked) + "\n)" if len(asked) > 1 else asked[0]


def _others(queues: Sequence[str]) -> str:
    return f'queue!="{queues[0]}"' if len(queues) == 1 else f'queue!~"{"|".join(queues)}"'


def _split(seconds: float) -> list[tuple[int, str]]:
    rest, found = round(seconds * 1000), []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            found.append((count, unit))
    return found
