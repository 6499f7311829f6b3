"""One hostile case, defined by seed, kind and number, so that a failing one can be repeated alone."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One call with hostile values."""

    seed: int
    kind: str
    number: int

    def draw(self) -> random.Random:
        """Return this case's random generator, in the same state each time."""
        return random.Random(f"{self.seed} {self.kind} {self.number}")

    @property
    def command(self) -> str:
        """The command that runs only this case."""
        return f"python -m chaos.hostile --seed {self.seed} --kind {self.kind} --case {self.number}"
