"""Puts the job's id, queue, attempt and character on every log line that is written while it runs."""

from __future__ import annotations

from typing import Any

from dramatiq import Broker, MessageProxy, Middleware
from structlog.contextvars import bind_contextvars, unbind_contextvars

from .job_facts import facts_of

_NAMES = ("job_id", "queue", "actor", "attempt", "character_id")


class JobContext(Middleware):
    """Binds the job's facts to the thread (and the coroutines it starts) for the time of a run."""

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Bind the facts."""
        bind_contextvars(**facts_of(message))

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Let go of the facts: the thread's next job has its own."""
        unbind_contextvars(*_NAMES)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Let go of the facts: a skipped job never reaches `after_process_message`."""
        unbind_contextvars(*_NAMES)
