"""Reports failed jobs to Sentry, once a job: not the attempts that are tried again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from dramatiq import Broker, MessageProxy, Middleware, Worker

from .. import logs
from ..broker.endings import Ended, Outcome
from ..broker.errors import Cancelled
from ..broker.worker.watch import Failure
from ..logs import error_reports
from ..logs.foreign_text import safe_str
from .job_facts import facts_of, payload_of

#: Jobs reported with a traceback whose end Redis has not confirmed yet; far more than ever are.
_REMEMBERED = 10_000


class Sentry(Middleware):
    """Reports to the project of `dsn`: tags job_type, queue and attempt; no payload values, no local variables.

    A worker that stops waits `flush_seconds` for reports on their way.
    """

    def __init__(self, dsn: str, *, flush_seconds: float = error_reports.FLUSH_SECONDS) -> None:
        self._dsn = dsn
        self._flush_seconds = flush_seconds
        self._lock = threading.Lock()
        self._reported: OrderedDict[str, None] = OrderedDict()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Set up the client, in the process that runs the jobs."""
        error_reports.start(self._dsn, service="workers")

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Wait a little for reports on their way."""
        error_reports.flush(self._flush_seconds)

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Report a job that failed for good, with its traceback, on the thread that ran it."""
        # A job that was cancelled has not failed; one that says so by itself has, and is told of at its end.
        if exception is None or not message.failed or isinstance(exception, Cancelled):
            return
        with self._lock:
            self._reported[message.message_id] = None
            if len(self._reported) > _REMEMBERED:
                # One whose end Redis refused: it is another worker's job by now.
                self._reported.popitem(last=False)
        _report(exception, facts_of(message), payload_of(message))

    def after_settle(self, broker: Broker, endings: Sequence[Ended]) -> None:
        """Report the failed jobs that had no exception to be seen above: unreadable, too old, undecided."""
        for ended in endings:
            with self._lock:
                reported = self._reported.pop(ended.job_id, self) is not self
            if ended.outcome != Outcome.FAILED or reported:
                continue
            facts = {"job_id": ended.job_id, "queue": ended.queue, "actor": ended.actor, "attempt": ended.attempt}
            _report(f"{ended.actor} failed: {ended.error}", facts, payload_of(ended.message) if ended.message else {})

    def after_worker_broken(self, broker: Broker, failure: Failure) -> None:
        """Report that this worker ends itself, since a thread of it ended or stands still."""
        error_reports.report(failure.error or f"this worker cannot go on: {failure.reason}", {"reason": failure.reason})


def _report(error: BaseException | str, facts: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
    """Report what a job failed by; of its payload only the names of the fields."""
    tags = {"job_type": facts["actor"], "queue": facts["queue"], "attempt": str(facts["attempt"])}
    error_reports.report(error, tags, {**facts, "payload": dict.fromkeys(map(safe_str, payload), logs.HIDDEN)})
