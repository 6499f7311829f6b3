"""Reports failed jobs to Sentry, once a job: not the attempts that are tried again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import sentry_sdk
from dramatiq import Broker, MessageProxy, Middleware, Worker
from sentry_sdk.types import Event, Hint

from .. import log
from ..broker.endings import Ended, Outcome
from ..version import __version__
from .job_facts import facts_of, payload_of

#: How long a stopping worker waits for reports on their way.
FLUSH_SECONDS = 2.0
#: Jobs reported with a traceback whose failure Redis has not confirmed yet; far more than ever are.
_REMEMBERED = 10_000


class Sentry(Middleware):
    """Reports to the project of `dsn`: tags job_type, queue and attempt; no payload values, no local variables."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._reported: dict[str, bool] = {}

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Set up the client, in the process that runs the jobs."""
        sentry_sdk.init(
            dsn=self._dsn,
            release=f"nomad-actors@{__version__}",
            # Its own integrations would report each failed attempt, from Dramatiq and from the log.
            default_integrations=False,
            auto_enabling_integrations=False,
            # `send_default_pii` stays unset: that means no, and saying no is deprecated since sentry-sdk 2.75.
            # Local variables hold payloads and tokens.
            include_local_variables=False,
            max_breadcrumbs=0,
            before_send=_redacted,
        )

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Wait a little for reports on their way."""
        sentry_sdk.flush(timeout=FLUSH_SECONDS)

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Report a job that failed for good, with its traceback, on the thread that ran it."""
        if exception is None or not message.failed:
            return
        if len(self._reported) < _REMEMBERED:
            self._reported[message.message_id] = True
        with _about(facts_of(message), payload_of(message)):
            sentry_sdk.capture_exception(exception)

    def after_settle(self, broker: Broker, endings: Sequence[Ended]) -> None:
        """Report the failed jobs that had no exception to be seen above: unreadable, too old, undecided."""
        for ended in endings:
            if ended.outcome != Outcome.FAILED or self._reported.pop(ended.job_id, False):
                continue
            facts = {"job_id": ended.job_id, "queue": ended.queue, "actor": ended.actor, "attempt": ended.attempt}
            with _about(facts, payload_of(ended.message) if ended.message else {}):
                sentry_sdk.capture_message(f"{ended.actor} failed: {ended.error}", level="error")


@contextmanager
def _about(facts: Mapping[str, Any], payload: Mapping[str, Any]) -> Iterator[None]:
    """Say which job the reports made inside are about; of the payload only the names of its fields."""
    with sentry_sdk.new_scope() as scope:
        scope.set_tag("job_type", facts["actor"])
        scope.set_tag("queue", facts["queue"])
        scope.set_tag("attempt", str(facts["attempt"]))
        scope.set_context("job", {**facts, "payload": dict.fromkeys(map(str, payload), log.HIDDEN)})
        yield


def _redacted(event: Event, hint: Hint) -> Event:
    """Return the report with every text in it free of secrets."""
    return cast(Event, log.hide_secrets("", event))
