"""The colours and lines that a panel draws at the limits of `nomad_actors.thresholds`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True)
class Limits:
    """A colour below the first step, and one from each step on."""

    base: str = GREEN
    steps: tuple[tuple[float, str], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return Grafana's thresholds."""
        first = {"color": self.base, "value": None}
        return {"mode": "absolute", "steps": [first, *({"color": c, "value": v} for v, c in self.steps)]}


#: Nothing here is too much.
NONE = Limits()
#: Any at all is a problem, or something to look at.
ANY_IS_WRONG = Limits(steps=((1, RED),))
ANY_IS_WORTH_A_LOOK = Limits(steps=((1, YELLOW),))
#: None at all is a problem.
ONE_IS_NEEDED = Limits(base=RED, steps=((1, GREEN),))


def beyond(problem: float, *, warning: float | None = None) -> Limits:
    """Return the limits of what is a problem from a value on, and worth a look from a smaller one on."""
    first = () if warning is None else ((warning, YELLOW),)
    return Limits(steps=(*first, (problem, RED)))


def in_words(seconds: float) -> str:
    """Return a duration as a reader says it: `90 s`, `10 min`, `2 h`, `3 d`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
