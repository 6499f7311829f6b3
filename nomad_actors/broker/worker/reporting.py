"""Decides when the progress and log lines of running jobs are sent to Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..client.link import Call
from .lease import Lease, Settlement
from .report import GATHER_SECONDS, Report


class SentReport(NamedTuple):
    """A job's progress and lines that are sent now."""

    lease: Lease
    report: Report
    first: int
    progress: bytes
    lines: list[tuple[float, bytes]]


class Reporting:
    """The jobs of one session that have something to report; used only by the pump."""

    def __init__(self, base_of: Callable[[str], str]) -> None:
        self._base_of = base_of
        self._reporting: dict[bytes, Lease] = {}

    def add(self, lease: Lease) -> None:
        """Register a job that has something to report."""
        if lease.report is not None:
            self._reporting[lease.token] = lease

    def due_mono(self) -> list[float]:
        """Return when each job's report is due."""
        return [_due_mono(lease) for lease in self._reporting.values()]

    def due(self, settling: Iterable[Settlement]) -> list[SentReport]:
        """Return the reports that are due; those of jobs that end now are due at once."""
        if not self._reporting:
            return []
        now = time.monotonic()
        ending = {s.lease.token for s in settling}
        due = [lease for token, lease in self._reporting.items() if token in ending or _due_mono(lease) <= now]
        return [SentReport(lease, lease.report, *lease.report.pending()) for lease in due if lease.report is not None]

    def call(self, sent: SentReport) -> Call:
        arguments: list[bytes | str | int | float] = [sent.lease.stored_id, sent.lease.token, sent.first, sent.progress]
        for at_ms, text in sent.lines:
            arguments += (at_ms, text)
        return Call("report", self._base_of(sent.lease.queue), arguments)

    def replied(self, sent: SentReport, now: float) -> None:
        sent.report.sent_mono = now
        if not sent.report.sent(sent.progress, len(sent.lines)):
            self._reporting.pop(sent.lease.token, None)


def _due_mono(lease: Lease) -> float:
    return lease.report.sent_mono + GATHER_SECONDS if lease.report is not None else 0.0
