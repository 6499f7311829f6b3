"""Times that a job type's author takes of work inside a job; Prometheus shows them as `nomad_work_seconds`."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import BadInput
from ..logs import get_logger
from ..logs.foreign_text import safe_repr
from .definitions import WORK_SECONDS

#: How many names a process takes; each is eighteen series for as long as Prometheus remembers.
MAX_NAMES = 100
#: What is counted under when there are more.
OTHER = "other"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")

logger = get_logger("nomad_actors.metrics")

_names: set[str] = set()
_naming = threading.Lock()
_one_too_many = threading.Event()


@dataclass
class Timer:
    """How long the work took; 0 until it is over."""

    duration_ms: float = 0.0


def record_job_metric(job_type: str, duration_ms: float, success: bool) -> None:
    """Count work inside a job under the name of its job type, or of the step that it is, such as `fetch-pages`.

    Raises `BadInput` for a name that is none and a time that is none.
    """
    _check_name(job_type)
    if not (math.isfinite(duration_ms) and duration_ms >= 0):
        raise BadInput(f"a duration of {duration_ms} ms is unusable (accepted: 0 or more)", accepted=["0 or more"])
    WORK_SECONDS.labels(_bounded(job_type), "completed" if success else "failed").observe(duration_ms / 1000)


@contextmanager
def timer(job_type: str) -> Iterator[Timer]:
    """Time the work of a `with` and record it: as failed when it raises, which goes on.

    Raises `BadInput` for a name that is none, before the work begins.
    """
    _check_name(job_type)
    began, timed = time.perf_counter(), Timer()
    success = False
    try:
        yield timed
        success = True
    finally:
        timed.duration_ms = (time.perf_counter() - began) * 1000
        record_job_metric(job_type, timed.duration_ms, success)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        accepted = "a lower-case letter, then up to 62 lower-case letters, digits, - and _"
        raise BadInput(f"the name {safe_repr(name, 200)} is unusable (accepted: {accepted})", accepted=[accepted])


def _bounded(name: str) -> str:
    """Return the name, or `OTHER` for one too many: ids as names would fill Prometheus."""
    with _naming:
        if name in _names:
            return name
        if len(_names) >= MAX_NAMES:
            if not _one_too_many.is_set():
                _one_too_many.set()
                logger.warning(
                    "too many names of timed work; from this one on they count as other", name=name, most=MAX_NAMES
                )
            return OTHER
        _names.add(name)
        # Both at zero from the start: a failure that is the first value seen is no increase.
        for outcome in ("completed", "failed"):
            WORK_SECONDS.labels(name, outcome)
        return name
