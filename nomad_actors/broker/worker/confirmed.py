"""Confirmed runs waiting to be reported, which is done while Redis works on the next round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..endings import Ended

#: How long a confirmed run may wait for the next round before it is reported.
REPORT_SECONDS = 0.005


class ConfirmedRuns:
    """Confirmed runs waiting to be reported; used only by the pump."""

    def __init__(self, report: Callable[[Sequence[Ended]], None]) -> None:
        self._report = report
        self._endings: list[Ended] = []

    def __bool__(self) -> bool:
        return bool(self._endings)

    def add(self, endings: Sequence[Ended]) -> None:
        self._endings += endings

    def report(self) -> None:
        endings, self._endings = self._endings, []
        if endings:
            self._report(endings)
