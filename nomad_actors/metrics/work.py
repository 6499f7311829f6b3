"""Times work inside jobs for Prometheus: `nomad_work_seconds`."""

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

#: How many names a process allows; each has eighteen series in Prometheus.
MAX_NAMES = 100
#: The name under which all further names are counted.
OTHER = "other"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")

logger = get_logger("nomad_actors.metrics")

_names: set[str] = set()
_names_lock = threading.Lock()
_limit_logged = threading.Event()


@dataclass
class Timer:
    """The duration of the work; 0 until it ends."""

    duration_ms: float = 0.0


def record_job_metric(job_type: str, duration_ms: float, success: bool) -> None:
    """Record work inside a job, by job type or step; raises `BadInput` for an invalid name or duration."""
    _check_name(job_type)
    if not (math.isfinite(duration_ms) and duration_ms >= 0):
        raise BadInput(f"a duration of {duration_ms} ms is invalid (allowed: 0 or more)", accepted=["0 or more"])
    WORK_SECONDS.labels(_bounded(job_type), "completed" if success else "failed").observe(duration_ms / 1000)


@contextmanager
def timer(job_type: str) -> Iterator[Timer]:
    """Time a `with` block and record it, as failed if it raises; raises `BadInput` for an invalid name before."""
    _check_name(job_type)
    start_seconds, timed = time.perf_counter(), Timer()
    success = False
    try:
        yield timed
        success = True
    finally:
        timed.duration_ms = (time.perf_counter() - start_seconds) * 1000
        record_job_metric(job_type, timed.duration_ms, success)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        allowed = "a lower-case letter, then up to 62 lower-case letters, digits, - and _"
        raise BadInput(f"the name {safe_repr(name, 200)} is invalid (allowed: {allowed})", accepted=[allowed])


def _bounded(name: str) -> str:
    # Limited, because ids as names would fill Prometheus.
    with _names_lock:
        if name in _names:
            return name
        if len(_names) >= MAX_NAMES:
            if not _limit_logged.is_set():
                _limit_logged.set()
                logger.warning(
                    "too many names of timed work: this and all further names are counted as `other`",
                    name=name,
                    most=MAX_NAMES,
                )
            return OTHER
        _names.add(name)
        # Both start at zero: otherwise a first failure is not visible as an increase.
        for outcome in ("completed", "failed"):
            WORK_SECONDS.labels(name, outcome)
        return name
