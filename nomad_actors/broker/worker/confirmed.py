"""What is yet to be reported of runs that Redis has confirmed; it is reported while Redis does something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..endings import Ended


class Telling:
    """Endings that are not reported yet; used by the pump alone."""

    #: How long they may lie where the next round is awaited.
    SECONDS = 0.005

    def __init__(self, tell: Callable[[Sequence[Ended]], None]) -> None:
        self._tell = tell
        self._endings: list[Ended] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._endings)

    def add(self, endings: Sequence[Ended]) -> None:
        """Keep some until they are told."""
        self._endings += endings

    def tell(self) -> None:
        """Tell of all that there are, once."""
        endings, self._endings = self._endings, []
        if endings:
            self._tell(endings)
