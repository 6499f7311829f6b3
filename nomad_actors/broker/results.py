"""A result backend for Dramatiq's own `Results` middleware: the result is part of the job's record.

The script that settles the job writes it, so there is no second write and no completed job without its result. A result
is stored as long as its job: the queue's retention decides, and `result_ttl` has no effect.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dramatiq import Message
from dramatiq.results import Missing, ResultBackend, ResultFailure, ResultMissing, ResultTimeout
from dramatiq.results.backend import DEFAULT_TIMEOUT

from ..logs.foreign_text import came_from_outside, describe_error
from .errors import Defer, PermanentError
from .records import MAX_STORED_RESULT_BYTES, EventKind
from .states import State
from .worker.lease import CURRENT

if TYPE_CHECKING:
    from .broker import JobBroker
    from .records.stored_job import StoredJob

#: How often a caller that waits for a result polls: often at first, then less often.
FIRST_POLL_SECONDS = 0.005
LAST_POLL_SECONDS = 0.25


class JobResults(ResultBackend):
    """Stores results with their jobs: `Results(backend=JobResults(broker))`.

    A job whose result cannot be encoded, or takes more than 1 MiB, fails with that reason.
    """

    def __init__(self, broker: JobBroker) -> None:
        super().__init__()
        self._broker = broker

    def store_result(self, message: Any, result: Any, ttl: int) -> None:
        lease = CURRENT.get()
        if lease is None or lease.job_id != message.message_id or isinstance(lease.skip, Defer):
            return
        if result is None and lease.result:
            # The code that ran the job has saved it already.
            return
        try:
            encoded = self.encoder.encode(result)
        except BaseException as error:
            if came_from_outside(error):
                raise
            lease.result_error = f"its result cannot be encoded: {describe_error(error)}"
            return
        if len(encoded) > MAX_STORED_RESULT_BYTES:
            lease.result_error = f"its result takes {len(encoded)} bytes (allowed: up to {MAX_STORED_RESULT_BYTES})"
            return
        lease.result = encoded

    def store_exception(self, message: Any, exception: BaseException, ttl: int) -> None:
        """Store nothing: the job's record has the error."""

    def get_result(self, message: Message[Any], *, block: bool = False, timeout: int | None = None) -> Any:
        """Return a job's result; with `block`, wait for it up to `timeout` ms (default 10 s).

        Raises `ResultMissing`, `ResultTimeout` after a wait, `ResultFailure` with the error of a failed job, and
        `RedisUnavailable` if Redis does not reply.
        """
        deadline = time.monotonic() + (DEFAULT_TIMEOUT if timeout is None else timeout) / 1000
        pause_seconds = FIRST_POLL_SECONDS
        view = self._broker.view(message.queue_name)
        while True:
            job = view.get(message.message_id)
            found = self._result_of(job) if job is not None else Missing
            if found is not Missing:
                return found
            if not block:
                raise ResultMissing(message)
            if time.monotonic() + pause_seconds > deadline:
                raise ResultTimeout(message)
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LAST_POLL_SECONDS)

    def _result_of(self, job: StoredJob) -> Any:
        if job.state is State.COMPLETED:
            stored = job.last(EventKind.COMPLETED)
            return self.encoder.decode(stored) if stored else None
        if job.state is State.FAILED:
            error = job.last_error()
            name, message = error or (PermanentError.__name__, job.reason() or "no reason is stored")
            raise ResultFailure(f"actor raised {name}: {message}", name, message)
        return Missing
