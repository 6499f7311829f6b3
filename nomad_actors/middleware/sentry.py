"""Reports failed jobs to Sentry: one report a job, none for attempts that are retried."""

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
from .job_context import facts_of, payload_of

#: How many reported jobs are remembered until Redis confirms their results; far more than ever wait for that.
_REMEMBERED = 10_000


class Sentry(Middleware):
    """Reports to the project of `dsn`, tagged with job_type, queue and attempt; no payload values, no local variables.

    A stopping worker waits up to `flush_seconds` until its reports are sent.
    """

    def __init__(self, dsn: str, *, flush_seconds: float = error_reports.FLUSH_SECONDS) -> None:
        self._dsn = dsn
        self._flush_seconds = flush_seconds
        self._lock = threading.Lock()
        self._reported: OrderedDict[str, None] = OrderedDict()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        # Here and not in __init__: the client must start in the process that runs the jobs.
        error_reports.start(self._dsn, service="workers")

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        error_reports.flush(self._flush_seconds)

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        # Reports permanent failures, on the thread that has the traceback. A cancelled job has not failed; a job that
        # failed without an exception is reported in `after_settle`.
        if exception is None or not message.failed or isinstance(exception, Cancelled):
            return
        with self._lock:
            self._reported[message.message_id] = None
            if len(self._reported) > _REMEMBERED:
                # Redis refused the result of that job: another worker runs it now.
                self._reported.popitem(last=False)
        _report(exception, facts_of(message), payload_of(message))

    def after_settle(self, broker: Broker, endings: Sequence[Ended]) -> None:
        # Failed jobs for which the hook above saw no exception: unreadable, too old, or not decided by any middleware.
        for ended in endings:
            with self._lock:
                reported = self._reported.pop(ended.job_id, self) is not self
            if ended.outcome != Outcome.FAILED or reported:
                continue
            facts = {"job_id": ended.job_id, "queue": ended.queue, "actor": ended.actor, "attempt": ended.attempt}
            _report(f"{ended.actor} failed: {ended.error}", facts, payload_of(ended.message) if ended.message else {})

    def after_worker_broken(self, broker: Broker, failure: Failure) -> None:
        error_reports.report(failure.error or f"this worker cannot go on: {failure.reason}", {"reason": failure.reason})


def _report(error: BaseException | str, facts: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
    tags = {"job_type": facts["actor"], "queue": facts["queue"], "attempt": str(facts["attempt"])}
    # Only the names of the payload's fields.
    error_reports.report(error, tags, {**facts, "payload": dict.fromkeys(map(safe_str, payload), logs.HIDDEN)})
