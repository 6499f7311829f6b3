"""What commands read off a job, and the words that name fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import BadInput

if TYPE_CHECKING:
    from ..job import Job


def changed_ms(job: Job) -> int:
    """Return when something last happened to a job: its end, else its start, else its coming."""
    return job.finished_on_ms or job.processed_on_ms or job.timestamp_ms


def due_ms_of(job: Job) -> int:
    """Return when a delayed job is due: as its story last said, else by the delay that it was added with."""
    for event in reversed(job.timeline):
        due = event.get("due")
        if isinstance(due, int):
            return due
    return job.timestamp_ms + job.delay_ms


def parse_fields(texts: Sequence[str]) -> dict[str, str]:
    """Return `name=value` words as a mapping.

    Raises `BadInput` for a word without `=`.
    """
    fields = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise BadInput(f"--field {text!r} is unusable (accepted: name=value, as character_id=123)")
        fields[name] = value
    return fields
