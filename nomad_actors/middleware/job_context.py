"""Puts the job's id, queue, attempt and character on every log line that is written while it runs."""

from __future__ import annotations

from functools import partial
from typing import Any

from dramatiq import Broker, MessageProxy, Middleware

from ..logs import JOB_FACTS
from .job_facts import facts_of


class JobContext(Middleware):
    """Tells the log which job the thread (and the coroutines it starts) runs, for the time of the run."""

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Say that this job runs."""
        JOB_FACTS.set(partial(facts_of, message))

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Let go of the job: the thread's next one is another."""
        JOB_FACTS.set(None)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Let go of the job: a skipped one never reaches `after_process_message`."""
        JOB_FACTS.set(None)
