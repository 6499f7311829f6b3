"""The job that keeps history complete: one data type of one character, or a sweep that adds these jobs for all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from .. import queues
from ..esi import ROUTES
from ..queues import AddedJob, NewJob
from ..queues.job_type import JobType, Result
from ..queues.policy import Backoff, Priority, PriorityValue
from ..queues.schedules.schedule import Schedule
from ..store import Changes, Character, history
from ..store.history.completeness import DATA_TYPES, DataType
from .payloads import CharacterPayload
from .route_sync import RouteSync
from .services import Services

NAME = "historical-data-collection"
QUEUE = "historical-data"

#: The routes of each type, in request order: orders that are no longer open are then looked up in the closed ones.
_ROUTES: Mapping[DataType, tuple[str, ...]] = MappingProxyType(
    {
        "wallet_journal": (history.JOURNAL,),
        "wallet_transactions": (history.TRANSACTIONS,),
        "market_orders": (history.ORDERS, history.ORDERS_HISTORY),
        "industry_jobs": (history.INDUSTRY_JOBS,),
        "skill_history": (history.SKILLS,),
    }
)


def _start(value: Any) -> Any:
    return _day(value, time.min)


def _end(value: Any) -> Any:
    # A day without a time includes all of that day.
    return _day(value, time.max)


def _day(value: Any, at: time) -> Any:
    if isinstance(value, str) and len(value) == len("2025-10-18"):
        value = date.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, at, UTC)
    return value


class HistoricalDataPayload(CharacterPayload):
    """One data type of one character, all that ESI shows or a range; with `sweep`, every type of every character.

    The range applies to stored rows: journal entries and transactions by their date, orders by when they were issued,
    industry jobs by their start, skills by when ESI's response was true. Times without a zone are UTC.
    """

    data_type: DataType | None = None
    from_date: Annotated[datetime, BeforeValidator(_start)] | None = None
    to_date: Annotated[datetime, BeforeValidator(_end)] | None = Field(default=None)

    @classmethod
    def _of_one_character(cls) -> tuple[str, ...]:
        return ("character_id", "user_id", "data_type")

    @model_validator(mode="after")
    def _a_range(self) -> HistoricalDataPayload:
        since, until = self.from_date, self.to_date
        if since is not None and until is not None and _utc(since) > _utc(until):
            raise ValueError("from_date is after to_date")
        if self.sweep and (since or until):
            raise ValueError("a sweep takes no dates")
        return self


class HistoricalDataResult(Result):
    """What was stored: rows within the range, new and changed ones, and the events made from them."""

    character_id: int | None = None
    data_type: str | None = None
    #: The outcome by route: fresh (our copy was current), not_modified or updated.
    outcomes: dict[str, str] = Field(default_factory=dict)
    rows: int = 0
    rows_new: int = 0
    rows_changed: int = 0
    events: int = 0
    #: Rows that could not be stored; each is in the table `set_aside_rows` with its reason.
    rows_set_aside: int = 0
    #: Rows that were stored with U+FFFD for characters that databases reject.
    rows_repaired: int = 0
    #: The jobs that a sweep added.
    enqueued: int | None = None


def run(payload: HistoricalDataPayload, services: Services) -> HistoricalDataResult:
    """Bring one data type up to date in the history.

    Running it twice is harmless: rows are stored under their natural keys, events are differences from the stored rows,
    and rows are written in one transaction with ESI's validator, so an interrupted run can be repeated. A sweep that
    runs twice adds the same jobs with the same ids.
    """
    if payload.sweep:
        jobs = sweep_jobs(payload, services.store.logins.all())
        return HistoricalDataResult(enqueued=len(queues.add_jobs(jobs)) if jobs else 0)
    assert payload.data_type is not None
    sync = RouteSync(services)
    outcomes: dict[str, str] = {}
    changes = Changes()
    for name in _ROUTES[payload.data_type]:
        synced = sync.sync(payload.character, ROUTES[name])
        outcomes[name] = synced.outcome
        changes += synced.changes
    return HistoricalDataResult(
        character_id=payload.character,
        data_type=payload.data_type,
        outcomes=outcomes,
        rows=changes.seen,
        rows_new=changes.new,
        rows_changed=changes.changed,
        events=changes.events,
        rows_set_aside=changes.set_aside,
        rows_repaired=changes.repaired,
    )


def sweep_jobs(payload: HistoricalDataPayload, characters: list[Character]) -> list[NewJob]:
    """Return a job for every data type that each character's scopes allow."""
    return [
        NewJob(
            queue=QUEUE,
            job_type=NAME,
            data={"character_id": each.character_id, "user_id": each.user_id, "data_type": data_type},
            priority=Priority.BATCH,
            delay=payload.delay_ms(NAME, each.character_id, data_type),
            requested_by="schedule",
            job_id=f"sweep-{NAME}-{each.character_id}-{data_type}",
        )
        for each in characters
        for data_type, routes in _ROUTES.items()
        if all(each.scopes.issuperset(ROUTES[name].scopes) for name in routes)
    ]


def collect_historical_data(
    character_id: int,
    user_id: int,
    data_type: str,
    *,
    from_date: date | datetime | str | None = None,
    to_date: date | datetime | str | None = None,
    priority: PriorityValue = Priority.LOW,
) -> AddedJob:
    """Add a job that collects one data type; a day as `to_date` includes all of that day, UTC.

    Raises the same errors as `Queues.add_job`.
    """
    return queues.add_jobs([_new_job(character_id, user_id, data_type, from_date, to_date, priority)])[0]


def collect_all_historical_data(
    character_id: int,
    user_id: int,
    *,
    from_date: date | datetime | str | None = None,
    to_date: date | datetime | str | None = None,
    priority: PriorityValue = Priority.BATCH,
) -> list[AddedJob]:
    """Add one job for each data type, all in one call.

    Raises the same errors as `Queues.add_job`.
    """
    return queues.add_jobs(
        [_new_job(character_id, user_id, data_type, from_date, to_date, priority) for data_type in DATA_TYPES]
    )


def _new_job(
    character_id: int,
    user_id: int,
    data_type: str,
    from_date: date | datetime | str | None,
    to_date: date | datetime | str | None,
    priority: PriorityValue,
) -> NewJob:
    data = {"character_id": character_id, "user_id": user_id, "data_type": data_type}
    dates = {"from_date": from_date, "to_date": to_date}
    return NewJob(
        queue=QUEUE,
        job_type=NAME,
        data=data | {name: value for name, value in dates.items() if value is not None},
        priority=priority,
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=moment.tzinfo or UTC)


HISTORICAL_DATA_COLLECTION = JobType(
    name=NAME,
    queue=QUEUE,
    payload=HistoricalDataPayload,
    result=HistoricalDataResult,
    run=run,
    priority=Priority.LOW,
    attempts=2,
    backoff=Backoff("exponential", 5000),
    time_limit_ms=600_000,
    concurrency=3,
    indexed=("character_id", "user_id", "data_type"),
    uses_esi=True,
    schedules=(
        Schedule(
            name=NAME,
            description="Collect every character's history, daily",
            # Not near the daily downtime at 11:00 UTC, nor at the full hour, when CCP sees 100 times the normal load
            # and asks clients to spread requests (developers.eveonline.com, 2025-10-07).
            expression="54 4 * * *",
            data={"sweep": True, "spread_seconds": 14_400},
        ),
    ),
    description="Keeps one type of a character's history: rows, and events made from their changes.",
)
