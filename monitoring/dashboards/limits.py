"""The colours and lines of a panel at the thresholds of `nomad_actors.thresholds`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True)
class Limits:
    """A base colour, and one colour from each step on."""

    base: str = GREEN
    steps: tuple[tuple[float, str], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return Grafana's thresholds."""
        first = {"color": self.base, "value": None}
        return {"mode": "absolute", "steps": [first, *({"color": c, "value": v} for v, c in self.steps)]}


#: No limit.
NONE = Limits()
#: One or more is a problem, or a warning.
ANY_IS_WRONG = Limits(steps=((1, RED),))
ANY_IS_A_WARNING = Limits(steps=((1, YELLOW),))
#: Zero is a problem.
ONE_IS_NEEDED = Limits(base=RED, steps=((1, GREEN),))


def beyond(problem: float, *, warning: float | None = None) -> Limits:
    """Return limits that are red from `problem` on, and yellow from `warning` on."""
    first = () if warning is None else ((warning, YELLOW),)
    return Limits(steps=(*first, (problem, RED)))


def in_words(seconds: float) -> str:
    """Return a duration as text: `90 s`, `10 min`, `2 h`, `3 d`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
