"""Writes one log line when a run ends.

The line is formatted by hand: a chain of log processors costs more than running a small job.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

from dramatiq import Broker, Middleware, Worker

from ..broker.endings import Ended
from ..broker.errors import Defer
from ..broker.worker.message import LeasedMessage
from ..logs.redaction import as_text, redact, shortened
from ..logs.setup import format_line, format_time, logfmt_value, write_lines
from .job_context import character_id_of
from .line_writer import LineWriter

#: The category by which operators find these lines.
CATEGORY = "job_metrics"
#: How much of an error a line shows, and how much of it is searched for secrets. The job's record has more of it.
ERROR_CHARACTERS, SCANNED_CHARACTERS = 500, 4_000
#: Longer than the name of any job type; a damaged job may name anything.
NAME_CHARACTERS = 200

#: Its worker threads' logger.
_DRAMATIQS_LOGGER = logging.getLogger("dramatiq.worker.WorkerThread")
_LEVELS = {"retried": "warning", "recovered": "warning", "failed": "error"}


class JobLog(Middleware):
    """Writes one line for each run that has ended, at most 50 ms late."""

    def __init__(self, *, log_format: str, log_level: str, write: Callable[[str], None] = write_lines) -> None:
        self._format_ended = _json_line if log_format == "json" else _logfmt_line
        self._log_format = log_format
        severity = logging.getLevelNamesMapping()
        self._written_levels = {
            level for level in ("info", "warning", "error") if severity[level.upper()] >= severity[log_level.upper()]
        }
        self._writer = LineWriter(write, format_lost=self._lost_line)

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        # A filter that is added twice is there once.
        _DRAMATIQS_LOGGER.addFilter(_is_no_deferral)
        # Here and not in __init__: the thread must start in the process that runs the jobs.
        self._writer.open()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        # Dramatiq closes the log's pipe soon. Lines that come after this are written at once.
        self._writer.close()

    def report_settled(self, broker: Broker, endings: Sequence[Ended]) -> None:
        timestamp = format_time(time.time())
        written_levels = self._written_levels
        lines = [self._format_ended(timestamp, e) for e in endings if _LEVELS.get(e.outcome, "info") in written_levels]
        if lines:
            self._writer.add(lines)

    def _lost_line(self, count: int) -> str:
        fields = {
            "timestamp": format_time(time.time()),
            "level": "warning",
            "module": __name__,
            "event": "the log reader is too slow: lines about ended jobs were dropped",
            "dropped": count,
        }
        return format_line(self._log_format, fields)


def _is_no_deferral(record: logging.LogRecord) -> bool:
    """Return False for Dramatiq's warning about a deferred job, for which our line is enough."""
    message = record.args[0] if isinstance(record.args, tuple) and len(record.args) == 1 else None
    if record.msg != "Message %s was skipped." or not isinstance(message, LeasedMessage):
        return True
    # Dramatiq logs it where it has caught the exception.
    return message.failed or not isinstance(sys.exception(), Defer)


def _error_of(ended: Ended) -> str:
    return redact(shortened(as_text(ended.error or ""), SCANNED_CHARACTERS))[:ERROR_CHARACTERS]


def _ms(value: float) -> str:
    # The times of a damaged job may be anything.
    return f"{value:.1f}" if math.isfinite(value) else "0.0"


def _logfmt_line(timestamp: str, ended: Ended) -> str:
    character_id = character_id_of(ended.message)
    character = "" if character_id is None else f" character_id={character_id}"
    error = f" error={logfmt_value(_error_of(ended))}" if ended.error else ""
    return (
        f"timestamp={timestamp} {_middle('logfmt', ended.queue, ended.actor[:NAME_CHARACTERS], str(ended.outcome))}"
        f" job_id={logfmt_value(ended.job_id)} attempt={ended.attempt}{character}"
        f" wait_ms={_ms(ended.wait_ms)} duration_ms={_ms(ended.run_ms)}{error}\n"
    )


def _json_line(timestamp: str, ended: Ended) -> str:
    character_id = character_id_of(ended.message)
    character = "" if character_id is None else f', "character_id": {character_id}'
    middle = _middle("json", ended.queue, ended.actor[:NAME_CHARACTERS], str(ended.outcome))
    error = f', "error": {json.dumps(_error_of(ended))}' if ended.error else ""
    return (
        f'{{"timestamp": "{timestamp}", {middle}'
        f', "job_id": {json.dumps(as_text(ended.job_id))}, "attempt": {ended.attempt}{character}'
        f', "wait_ms": {_ms(ended.wait_ms)}, "duration_ms": {_ms(ended.run_ms)}{error}}}\n'
    )


# A process sees few different values; the limit is for names from damaged jobs.
@lru_cache(maxsize=1024)
def _middle(log_format: str, queue: str, actor: str, outcome: str) -> str:
    queue, actor = as_text(queue), as_text(actor)
    fields = {
        "level": _LEVELS.get(outcome, "info"),
        "module": f"{actor}-job",
        "event": f"job {outcome}",
        "category": CATEGORY,
        "queue": queue,
        "actor": actor,
        "outcome": outcome,
    }
    return json.dumps(fields)[1:-1] if log_format == "json" else format_line("logfmt", fields).rstrip("\n")
