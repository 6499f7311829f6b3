"""The job that the calling code runs in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from dramatiq import Message

from ..broker.records.notes import Progress
from ..broker.worker.lease import CURRENT, Lease
from ..broker.worker.reporting import Report
from ..errors import BadInput, NomadError
from ..logs.foreign_text import safe_str


class CurrentJob:
    """The job that the calling code runs in."""

    def __init__(self, lease: Lease, message: Message[Any]) -> None:
        self.id = lease.job_id
        self.queue = lease.queue
        self.name = message.actor_name
        #: 1 in the first run.
        self.attempt = lease.attempt
        self.data: Mapping[str, Any] = MappingProxyType(message.kwargs)
        self._lease = lease

    @property
    def cancelled(self) -> bool:
        """Whether an operator cancelled this job; code that Python cannot interrupt should check it now and then."""
        return self._lease.cancel_reason is not None

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Report the job's progress; it is shown within a moment, and the call does not wait for that.

        Raises `BadInput` for numbers that are not finite.
        """
        if not (math.isfinite(done) and math.isfinite(total)):
            raise BadInput(f"progress of {done} of {total} is invalid (allowed: finite numbers)")
        self._report().progress(Progress(done, total, safe_str(note)))
        self._notify()

    def log(self, text: str) -> None:
        """Add a line to the job's log, of which the last 16 kB are kept."""
        self._report().log(safe_str(text))
        self._notify()

    def _report(self) -> Report:
        if self._lease.report is None:
            self._lease.report = Report()
        return self._lease.report

    def _notify(self) -> None:
        if self._lease.notify is not None:
            self._lease.notify(self._lease)


def current_job() -> CurrentJob:
    """Return the job that this code runs in, in a coroutine too. Raises `NomadError` outside a job."""
    lease = CURRENT.get()
    if lease is None or lease.message is None:
        raise NomadError("current_job() was called outside a job")
    return CurrentJob(lease, lease.message)
