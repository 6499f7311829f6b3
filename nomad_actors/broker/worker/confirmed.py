"""Confirmed runs waiting to be reported; they are reported while Redis does something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..endings import Ended

#: How long a confirmed run may wait for its report while the next round is awaited.
REPORT_SECONDS = 0.005


class ConfirmedRuns:
    """Runs that Redis has confirmed and that are not reported yet; used by the pump alone."""

    def __init__(self, report: Callable[[Sequence[Ended]], None]) -> None:
        self._report = report
        self._endings: list[Ended] = []

    def __bool__(self) -> bool:
        return bool(self._endings)

    def add(self, endings: Sequence[Ended]) -> None:
        """Keep some until they are reported."""
        self._endings += endings

    def report(self) -> None:
        """Report all that there are, once."""
        endings, self._endings = self._endings, []
        if endings:
            self._report(endings)
