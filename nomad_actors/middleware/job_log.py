"""Writes the one line that the end of a run leaves in the log.

It is formed by hand and once: a chain of log processors costs more than running a small job.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

from dramatiq import Broker, Middleware, Worker

from .. import logs
from ..broker.endings import Ended
from .job_facts import character_id_of
from .line_writer import LineWriter

#: The category by which operators find these lines.
CATEGORY = "job_metrics"
#: Characters of an error that a line shows, and that are looked through for secrets; the job's record has more of it.
ERROR_CHARACTERS, LOOKED_AT_CHARACTERS = 500, 4_000
#: A job type's name is shorter; what a damaged job names may be anything.
NAME_CHARACTERS = 200

_LEVELS = {"retried": "warning", "recovered": "warning", "failed": "error"}


class JobLog(Middleware):
    """Writes a line for each run that is over, at most 50 ms late."""

    def __init__(self, *, log_format: str, log_level: str, write: Callable[[str], None] = logs.write_lines) -> None:
        self._form = _json_line if log_format == "json" else _logfmt_line
        self._log_format = log_format
        severity = logging.getLevelNamesMapping()
        self._shown = {
            level for level in ("info", "warning", "error") if severity[level.upper()] >= severity[log_level.upper()]
        }
        self._writer = LineWriter(write, say_lost=self._say_lost)

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Start the writing thread, in the process that runs the jobs."""
        self._writer.open()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Write what is left; Dramatiq closes the log's pipe soon, and endings that come still are written at once."""
        self._writer.close()

    def report_settled(self, broker: Broker, endings: Sequence[Ended]) -> None:
        """Add the lines of these endings."""
        stamp = logs.format_time(time.time())
        shown = self._shown
        lines = [self._form(stamp, e) for e in endings if _LEVELS.get(e.outcome, "info") in shown]
        if lines:
            self._writer.add(lines)

    def _say_lost(self, count: int) -> str:
        fields = {
            "timestamp": logs.format_time(time.time()),
            "level": "warning",
            "module": __name__,
            "event": "the log's reader is too slow: lines about ended jobs were dropped",
            "dropped": count,
        }
        return logs.format_line(self._log_format, fields)


def _error_of(ended: Ended) -> str:
    return logs.redact(logs.shortened(logs.as_text(ended.error or ""), LOOKED_AT_CHARACTERS))[:ERROR_CHARACTERS]


def _ms(value: float) -> str:
    """Return milliseconds as a line says them; a damaged job may tell of any moments."""
    return f"{value:.1f}" if math.isfinite(value) else "0.0"


def _logfmt_line(stamp: str, ended: Ended) -> str:
    character_id = character_id_of(ended.message)
    character = "" if character_id is None else f" character_id={character_id}"
    error = f" error={logs.logfmt_value(_error_of(ended))}" if ended.error else ""
    return (
        f"timestamp={stamp} {_logfmt_middle(ended.queue, ended.actor[:NAME_CHARACTERS], str(ended.outcome))}"
        f" job_id={logs.logfmt_value(ended.job_id)} attempt={ended.attempt}{character}"
        f" wait_ms={_ms(ended.wait_ms)} duration_ms={_ms(ended.run_ms)}{error}\n"
    )


def _json_line(stamp: str, ended: Ended) -> str:
    character_id = character_id_of(ended.message)
    character = "" if character_id is None else f', "character_id": {character_id}'
    error = f', "error": {json.dumps(_error_of(ended))}' if ended.error else ""
    return (
        f'{{"timestamp": "{stamp}", {_json_middle(ended.queue, ended.actor[:NAME_CHARACTERS], str(ended.outcome))}'
        f', "job_id": {json.dumps(logs.as_text(ended.job_id))}, "attempt": {ended.attempt}{character}'
        f', "wait_ms": {_ms(ended.wait_ms)}, "duration_ms": {_ms(ended.run_ms)}{error}}}\n'
    )


def _middle(queue: str, actor: str, outcome: str) -> dict[str, str]:
    queue, actor = logs.as_text(queue), logs.as_text(actor)
    return {
        "level": _LEVELS.get(outcome, "info"),
        "module": f"{actor}-job",
        "event": f"job {outcome}",
        "category": CATEGORY,
        "queue": queue,
        "actor": actor,
        "outcome": outcome,
    }


# A process sees few of these; the bound is for names that come out of damaged jobs.


@lru_cache(maxsize=1024)
def _logfmt_middle(queue: str, actor: str, outcome: str) -> str:
    return logs.format_line("logfmt", _middle(queue, actor, outcome)).rstrip("\n")


@lru_cache(maxsize=1024)
def _json_middle(queue: str, actor: str, outcome: str) -> str:
    return json.dumps(_middle(queue, actor, outcome))[1:-1]
