"""The job that keeps the ESI cache small, and each night deletes what the database keeps for long enough."""

from __future__ import annotations

import time
from typing import Literal, Self

from pydantic import Field, model_validator

from .. import queues
from ..esi import CleanReport
from ..queues import AddedJob
from ..queues.job_type import JobType, Payload, Result
from ..queues.policy import Priority, PriorityValue
from ..queues.schedules.calendar import CRON_EXPRESSIONS
from ..queues.schedules.schedule import Schedule
from ..store.prune import prune
from .old_data import old_before
from .services import Services

NAME = QUEUE = "cache-cleanup"

#: Documents that the cache keeps by default: some hundred megabytes at the average size of ESI's responses.
DEFAULT_MAX_SIZE = 50_000

#: Less than the time limit of the job.
_PRUNE_SECONDS = 180

CleanupType = Literal["expired", "lru", "pattern", "all"]


class CacheCleanupPayload(Payload):
    """What to remove: documents long `expired`, the least recently read (`lru`), those of a `pattern`, or `all`."""

    type: CleanupType
    #: A Redis pattern for the cache's own keys, such as `esi:characters:*`; with type pattern only.
    pattern: str | None = Field(default=None, min_length=1, max_length=500)
    #: Documents to keep; with type lru, or with `then_lru`.
    max_size: int | None = Field(default=None, ge=0)
    #: Remove expired documents first, then keep at most `max_size`: the daily run.
    then_lru: bool = False
    #: Report what would be removed.
    dry_run: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.type == "pattern" and self.pattern is None:
            raise ValueError("type pattern needs a pattern")
        if self.type != "pattern" and self.pattern is not None:
            raise ValueError(f"type {self.type} takes no pattern; with one the type is pattern")
        if self.then_lru and self.type != "expired":
            raise ValueError("then_lru goes with type expired only")
        if self.max_size is not None and not (self.type == "lru" or self.then_lru):
            raise ValueError(f"type {self.type} takes no max_size; type lru does")
        return self


class CacheCleanupResult(Result):
    """What was removed, or with `dry_run` would be removed."""

    type: str
    dry_run: bool
    keys: int
    bytes: int
    #: Old rows of the database that the daily run deleted (NOMAD_KEEP_HISTORY_DAYS, NOMAD_KEEP_DOCUMENTS_DAYS).
    rows: int = 0


def run(payload: CacheCleanupPayload, services: Services) -> CacheCleanupResult:
    """Remove documents from the ESI cache, in bounded steps, within its own prefix.

    Running it twice is harmless: the cache is a copy of the database, and removed documents are fetched into it again
    when they are needed.
    """
    report = _clean(payload, services)
    rows = _prune(services) if payload.then_lru and not payload.dry_run else 0
    return CacheCleanupResult(
        type=payload.type, dry_run=payload.dry_run, keys=report.keys, bytes=report.bytes, rows=rows
    )


def _prune(services: Services) -> int:
    """Delete old rows for some minutes; what is left then is deleted in the nights after."""
    cutoffs = old_before(services.settings, services.clock.now_ms())
    return prune(services.store.database, cutoffs, until_mono=time.monotonic() + _PRUNE_SECONDS)


def _clean(payload: CacheCleanupPayload, services: Services) -> CleanReport:
    cache, dry_run = services.cache, payload.dry_run
    max_size = DEFAULT_MAX_SIZE if payload.max_size is None else payload.max_size
    match payload.type:
        case "pattern":
            assert payload.pattern is not None
            return cache.clean_pattern(payload.pattern, dry_run=dry_run)
        case "all":
            return cache.clean_all(dry_run=dry_run)
        case "lru":
            return cache.clean_lru(max_size, dry_run=dry_run)
    expired = cache.clean_expired(dry_run=dry_run)
    if not payload.then_lru:
        return expired
    rest = cache.clean_lru(max_size, dry_run=dry_run)
    return CleanReport(expired.keys + rest.keys, expired.bytes + rest.bytes)


def cleanup_cache(
    type: str,  # noqa: A002 - the name that callers know
    *,
    pattern: str | None = None,
    max_size: int | None = None,
    dry_run: bool = False,
    priority: PriorityValue | None = None,
) -> AddedJob:
    """Add a job that cleans the ESI cache: `expired`, `lru` (to `max_size` documents), `pattern` or `all`.

    Raises the same errors as `Queues.add_job`.
    """
    given = {"pattern": pattern, "max_size": max_size}
    data = {"type": type, "dry_run": dry_run} | {name: value for name, value in given.items() if value is not None}
    return queues.add_job(QUEUE, NAME, data, priority=priority)


CACHE_CLEANUP = JobType(
    name=NAME,
    queue=QUEUE,
    payload=CacheCleanupPayload,
    result=CacheCleanupResult,
    run=run,
    priority=Priority.LOW,
    attempts=1,
    time_limit_ms=300_000,
    concurrency=1,
    global_concurrency=1,
    schedules=(
        Schedule(
            name=NAME,
            description="Remove what is stale from the ESI cache, then bring it to its size, daily at 3 AM UTC",
            expression=CRON_EXPRESSIONS["DAILY_3AM"],
            data={"type": "expired", "then_lru": True},
        ),
    ),
    description="Removes old documents from the ESI cache.",
)
