"""Adds the job's id, queue, attempt and character to every log line that is written while it runs."""

from __future__ import annotations

from functools import partial
from typing import Any

from dramatiq import Broker, MessageProxy, Middleware

from ..logs import JOB_FACTS
from .job_facts import facts_of


class JobContext(Middleware):
    """Sets the job's facts for log lines of the thread that runs it, and of the coroutines that the thread starts."""

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        JOB_FACTS.set(partial(facts_of, message))

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        JOB_FACTS.set(None)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        # `after_process_message` is not called for a skipped job.
        JOB_FACTS.set(None)
