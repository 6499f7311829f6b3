"""The job that keeps history complete: one data type of one character, or a sweep that adds these jobs for all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from .. import queues
from ..broker.errors import PermanentError
from ..esi import ROUTES
from ..queues import AddedJob, NewJob
from ..queues.job_type import JobType, Result
from ..queues.new_job import CallOptions
from ..queues.policy import Backoff, Priority, PriorityValue
from ..queues.schedules.schedule import Schedule
from ..store import Changes, Character
from ..store.history.completeness import DATA_TYPE_BY_ROUTE, DATA_TYPES, Completeness, DataType, completeness
from ..store.history.fleet import urgent
from ..store.history.ranges import Range
from ..thresholds import HISTORY
from .payloads import CharacterPayload
from .route_sync import RouteSync
from .services import Services

NAME = "historical-data-collection"
QUEUE = "historical-data"
#: How much sooner within the spread those come whose history is at risk.
_SOONER = 16

#: The routes of each type, in request order.
_ROUTES: Mapping[DataType, tuple[str, ...]] = MappingProxyType(
    {each: tuple(name for name, its in DATA_TYPE_BY_ROUTE.items() if its == each) for each in DATA_TYPES}
)


#: The scopes that each type needs.
SCOPES: Mapping[DataType, frozenset[str]] = MappingProxyType(
    {each: frozenset(scope for name in names for scope in ROUTES[name].scopes) for each, names in _ROUTES.items()}
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
    """One data type of one character; with `sweep`, every type of every character.

    Everything that ESI shows is stored. The range says which rows the result counts: journal entries and transactions
    by their date, orders by when they were issued, industry jobs by their start, skills by their changes. It includes
    both its ends; a day as its end includes all of that day. Times without a zone are UTC.
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

    @property
    def range(self) -> Range:
        """The range, in milliseconds."""
        return Range(_epoch_ms(self.from_date), _epoch_ms(self.to_date))


class HistoryHole(Result):
    """A span in which rows may be missing, both ends included: `retention`, `set_aside`, `balance` or `unseen`."""

    from_ms: int
    until_ms: int
    cause: str
    details: str
    #: Whether ESI still shows its time; then the next job tries.
    can_be_filled: bool


class HistoricalDataResult(Result):
    """What was stored, and what is known now: new and changed rows, the events made from them, and the range asked."""

    character_id: int | None = None
    data_type: str | None = None
    #: The outcome by route: stored (the wallet's range is proven complete, or ESI no longer shows it), fresh (our copy
    #: was current), not_modified or updated.
    outcomes: dict[str, str] = Field(default_factory=dict)
    #: Stored rows within the range; without one, the rows that ESI sent.
    rows: int = 0
    rows_new: int = 0
    rows_changed: int = 0
    events: int = 0
    #: Rows that could not be stored; each is in the table `set_aside_rows` with its reason.
    rows_set_aside: int = 0
    #: Rows that were stored with U+FFFD for characters that databases reject.
    rows_repaired: int = 0
    #: Every row since the first time and before the second one is stored, except in holes; None if nothing is proven.
    complete_since_ms: int | None = None
    complete_until_ms: int | None = None
    #: The holes within the range.
    holes: list[HistoryHole] = Field(default_factory=list)
    #: The jobs that a sweep added.
    enqueued: int | None = None


def run(payload: HistoricalDataPayload, services: Services) -> HistoricalDataResult:
    """Bring one data type up to date in the history.

    Running it twice is harmless: rows are stored under their natural keys, events are differences from the stored rows,
    and rows are written in one transaction with ESI's validator, so an interrupted run can be repeated. A sweep that
    runs twice finds the jobs that the first one added.
    """
    if payload.sweep:
        return HistoricalDataResult(enqueued=_sweep(payload, services))
    assert payload.data_type is not None
    known = _completeness(payload, services)
    if payload.range.gains_nothing(known, services.clock.now_ms()):
        if services.store.logins.character(payload.character) is None:
            raise PermanentError(f"character {payload.character} never logged in")
        return _result(payload, services, dict.fromkeys(_ROUTES[payload.data_type], "stored"), Changes())
    sync = RouteSync(services)
    outcomes: dict[str, str] = {}
    changes = Changes()
    # ESI would say "not modified" about a document of which a row was lost on the way to the history.
    in_full = any(hole.can_be_filled for hole in known.holes)
    for name in _ROUTES[payload.data_type]:
        synced = sync.sync(payload.character, ROUTES[name], in_full=in_full)
        outcomes[name] = synced.outcome
        changes += synced.changes
    return _result(payload, services, outcomes, changes)


def _completeness(payload: HistoricalDataPayload, services: Services) -> Completeness:
    assert payload.data_type is not None
    with services.store.database.read() as connection:
        return completeness(connection, payload.character, services.clock.now_ms())[payload.data_type]


def _result(
    payload: HistoricalDataPayload, services: Services, outcomes: dict[str, str], changes: Changes
) -> HistoricalDataResult:
    assert payload.data_type is not None
    range_, known, rows = payload.range, _completeness(payload, services), changes.seen
    if range_.is_limited:
        with services.store.database.read() as connection:
            rows = range_.count(connection, payload.character, payload.data_type)
    fields = HistoryHole.model_fields
    return HistoricalDataResult(
        character_id=payload.character,
        data_type=payload.data_type,
        outcomes=outcomes,
        rows=rows,
        rows_new=changes.new,
        rows_changed=changes.changed,
        events=changes.events,
        rows_set_aside=changes.set_aside,
        rows_repaired=changes.repaired,
        complete_since_ms=known.complete_since_ms,
        complete_until_ms=known.complete_until_ms,
        holes=[HistoryHole(**{name: getattr(hole, name) for name in fields}) for hole in range_.holes(known)],
    )


def _sweep(payload: HistoricalDataPayload, services: Services) -> int:
    store = services.store
    now_ms = services.clock.now_ms()
    jobs = sweep_jobs(payload, store.logins.all(), urgent(store.database, now_ms, HISTORY.at_risk_share))
    return sum(added.new for added in queues.add_jobs(jobs)) if jobs else 0


def sweep_jobs(
    payload: HistoricalDataPayload, characters: list[Character], first: Collection[tuple[int, str]] = ()
) -> list[NewJob]:
    """Return a job for every data type that each character's scopes allow; those of `first` come first, and sooner."""
    pairs = [(each, data_type) for each in characters for data_type, scopes in SCOPES.items() if each.scopes >= scopes]
    return [
        NewJob(
            queue=QUEUE,
            job_type=NAME,
            data={"character_id": each.character_id, "user_id": each.user_id, "data_type": data_type},
            priority=Priority.BATCH,
            delay=payload.delay_ms(NAME, each.character_id, data_type) // (1 if is_later else _SOONER),
            requested_by="schedule",
            unique_key=_unique_key(each.character_id, data_type),
        )
        for is_later in (False, True)
        for each, data_type in pairs
        if is_later is ((each.character_id, data_type) not in first)
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

    There is one job of a character and data type at a time, and one of each range, which its result is about: if one
    exists, it is returned (`new` is false). One that a sweep or a limit has delayed is replaced by one that runs now.
    Raises the same errors as `Queues.add_job`.
    """
    return _add([_new_job(character_id, user_id, data_type, from_date, to_date, priority)])[0]


def collect_all_historical_data(
    character_id: int,
    user_id: int,
    *,
    from_date: date | datetime | str | None = None,
    to_date: date | datetime | str | None = None,
    priority: PriorityValue = Priority.BATCH,
) -> list[AddedJob]:
    """Add one job for each data type, all in one call, as `collect_historical_data` does.

    Raises the same errors as `Queues.add_job`.
    """
    return _add([_new_job(character_id, user_id, data_type, from_date, to_date, priority) for data_type in DATA_TYPES])


def _add(jobs: list[NewJob]) -> list[AddedJob]:
    added = queues.add_jobs(jobs)
    delayed = [at for at, each in enumerate(added) if not each.new and each.state == "delayed"]
    if delayed:
        replaced = queues.add_jobs([_replacing(jobs[at]) for at in delayed])
        added = [dict(zip(delayed, replaced, strict=True)).get(at, each) for at, each in enumerate(added)]
    return added


def _replacing(job: NewJob) -> NewJob:
    options: CallOptions = {**job.options, "unique_replace": True}
    return NewJob(queue=job.queue, job_type=job.job_type, data=job.data, **options)


def _new_job(
    character_id: int,
    user_id: int,
    data_type: str,
    from_date: date | datetime | str | None,
    to_date: date | datetime | str | None,
    priority: PriorityValue,
) -> NewJob:
    given = {"from_date": from_date, "to_date": to_date}
    dates = {name: value for name, value in given.items() if value is not None}
    return NewJob(
        queue=QUEUE,
        job_type=NAME,
        data={"character_id": character_id, "user_id": user_id, "data_type": data_type} | dates,
        priority=priority,
        unique_key=_unique_key(character_id, data_type, dates),
    )


def _unique_key(character_id: int, data_type: str, dates: Mapping[str, object] | None = None) -> str:
    """Return the key; a range is part of it, because the result of a job without it would not be about the range."""
    return "/".join([str(character_id), data_type, *(f"{name}={value}" for name, value in (dates or {}).items())])


def _epoch_ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(_utc(moment).timestamp() * 1000)


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
