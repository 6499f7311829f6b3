"""The function that a job type's actor calls: it checks the data, calls `run` and stores the result with the job."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..broker.errors import Defer, PermanentError
from ..broker.records import pack_result
from ..broker.worker.lease import CURRENT
from ..errors import BadPayload, TryLater
from .job_type import JobType


def runner(job_type: JobType, services: object | None) -> Callable[..., object]:
    """Return the function of the job type's actor."""
    arguments = (services,) if len(inspect.signature(job_type.run).parameters) > 1 else ()

    def run(*args: Any, **data: Any) -> object:
        if args:
            raise PermanentError(
                f"job type {job_type.name!r} takes named fields only, not {len(args)} positional arguments"
            )
        try:
            payload = job_type.read(data)
        except BadPayload as error:
            raise PermanentError(str(error)) from error
        try:
            result = job_type.run(payload, *arguments)
        except TryLater as error:
            raise Defer(error.retry_after_seconds, str(error)) from error
        if result is None and job_type.result is None:
            return None
        return _save_result(result.model_dump(mode="json"))

    run.__name__ = job_type.name.replace("-", "_")
    return run


def _save_result(returned: object) -> object:
    lease = CURRENT.get()
    if lease is None or lease.message is None:
        return returned
    lease.result = pack_result(returned)
    # Dramatiq warns if nothing uses a value; only the next step of a pipeline uses it.
    return returned if lease.message.options.get("pipe_target") is not None else None
