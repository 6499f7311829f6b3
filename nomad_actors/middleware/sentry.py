"""Reports failed jobs to Sentry, once a job: not the attempts that are tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dramatiq import Broker, MessageProxy, Middleware, Worker

from .. import error_reports, log
from ..broker.endings import Ended, Outcome
from .job_facts import facts_of, payload_of

#: Jobs reported with a traceback whose failure Redis has not confirmed yet; far more than ever are.
_REMEMBERED = 10_000


class Sentry(Middleware):
    """Reports to the project of `dsn`: tags job_type, queue and attempt; no payload values, no local variables."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._reported: dict[str, bool] = {}

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Set up the client, in the process that runs the jobs."""
        error_reports.start(self._dsn, service="workers")

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Wait a little for reports on their way."""
        error_reports.flush()

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Report a job that failed for good, with its traceback, on the thread that ran it."""
        if exception is None or not message.failed:
            return
        if len(self._reported) < _REMEMBERED:
            self._reported[message.message_id] = True
        _report(exception, facts_of(message), payload_of(message))

    def after_settle(self, broker: Broker, endings: Sequence[Ended]) -> None:
        """Report the failed jobs that had no exception to be seen above: unreadable, too old, undecided."""
        for ended in endings:
            if ended.outcome != Outcome.FAILED or self._reported.pop(ended.job_id, False):
                continue
            facts = {"job_id": ended.job_id, "queue": ended.queue, "actor": ended.actor, "attempt": ended.attempt}
            _report(f"{ended.actor} failed: {ended.error}", facts, payload_of(ended.message) if ended.message else {})


def _report(error: BaseException | str, facts: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
    """Report what a job failed by; of its payload only the names of the fields."""
    tags = {"job_type": facts["actor"], "queue": facts["queue"], "attempt": str(facts["attempt"])}
    error_reports.report(error, tags, {**facts, "payload": dict.fromkeys(map(str, payload), log.HIDDEN)})
