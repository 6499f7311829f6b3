"""Jobs of a queue by what they are: states, job type, fields of their data, age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, UnknownJobType

if TYPE_CHECKING:
    from ..job import Job
    from ..queue_control import Queue

#: How many jobs of a page are read at once, and how many are looked at in all.
PAGE = 200
MAX_LOOKED = 20_000


@dataclass(frozen=True)
class Wanted:
    """Which jobs are looked for; None and nothing mean any."""

    job_type: str | None = None
    fields: Mapping[str, str] | None = None
    since_ms: float | None = None

    def fits(self, job: Job) -> bool:
        """Return whether a job is one of them."""
        if self.job_type is not None and job.name != self.job_type:
            return False
        if self.since_ms is not None and changed_ms(job) < self.since_ms:
            return False
        return all(_as_text(job.data.get(name)) == text for name, text in (self.fields or {}).items())


@dataclass(frozen=True)
class Found:
    """The jobs that were found, how many were looked at, and whether that was all of them."""

    jobs: list[Job]
    looked: int
    complete: bool


def find(queue: Queue, states: Sequence[str], wanted: Wanted, limit: int) -> Found:
    """Return up to `limit` jobs of some states, in the order of the states.

    Raises `UnknownState`, `UnknownJobType`, `Unavailable`.
    """
    known = {job_type.name for job_type in queue.job_types}
    if wanted.job_type is not None and wanted.job_type not in known:
        raise UnknownJobType(wanted.job_type, known)
    found: list[Job] = []
    looked = 0
    while looked < MAX_LOOKED:
        page = queue.jobs(states, looked, looked + PAGE - 1)
        for job in page:
            looked += 1
            if wanted.fits(job):
                found.append(job)
                if len(found) == limit:
                    return Found(found, looked, complete=False)
        if len(page) < PAGE:
            return Found(found, looked, complete=True)
    return Found(found, looked, complete=False)


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


def _as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)
