"""The job that keeps ESI's data fresh: one route of one character.

The next refresh of a route that somebody asked for is a delayed job of its own, the only one of its character and
route. A sweep adds the jobs that are missing, from the database.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from .. import queues
from ..broker.errors import QueueFull
from ..errors import BadInput
from ..esi import GROUPS, ROUTES, Route, normalise
from ..esi.limits.brakes import ESI, SSO, TOKENS
from ..logs import get_logger
from ..logs.foreign_text import safe_repr, safe_str
from ..queues import AddedJob, NewJob
from ..queues.job_type import JobType, Result
from ..queues.policy import Backoff, Priority, PriorityValue
from ..queues.schedules.calendar import CRON_EXPRESSIONS
from ..queues.schedules.schedule import Schedule
from ..store import OverdueRoute
from .due_times import SLACK_MS
from .payloads import CharacterPayload
from .route_sync import Refused, RouteSync, Synced
from .services import Services

NAME = "esi-data-refresh"
QUEUE = "esi-refresh"

#: A route is subscribed for this long after somebody requested it: it is refreshed by itself.
SUBSCRIPTION_MS = 30 * 86_400_000
#: A refresh that is due for this long and has not run may have lost its job.
LATE_MS = 60_000
#: A job that the sweep added and that has not run within this time is added again.
REQUEUE_MS = 3_600_000
#: The most jobs that one sweep adds; the rest is added by the next one.
SWEEP_LIMIT = 50_000
_SWEEP_STEP = 1_000
#: While one of these brakes is in force, all jobs are deferred.
_STOPS_ALL = (ESI, SSO, TOKENS)
#: Values of `requested_by`: a user may take everything that the limits allow; the schedule subscribes to nothing.
USER, _SCHEDULE = "user", "schedule"
_NUMBER = re.compile(r"/characters/(\d+)")

logger = get_logger("esi-refresh-job")


class EsiRefreshPayload(CharacterPayload):
    """One endpoint of one character; or, with `sweep`, every route whose refresh is overdue."""

    endpoint: str | None = Field(default=None, max_length=500)
    #: Request it although our own interval has not passed; CCP's freshness is still respected. If requested by a user,
    #: the ETag is left out, so that a copy that is wrong is replaced.
    skip_cache: bool = False
    requested_by: str = Field(default="system", min_length=1, max_length=100)

    @classmethod
    def _of_one_character(cls) -> tuple[str, ...]:
        return ("character_id", "user_id", "endpoint")

    @model_validator(mode="before")
    @classmethod
    def _same_character(cls, data: Any) -> Any:
        named = _NUMBER.search(str(data.get("endpoint"))) if isinstance(data, Mapping) else None
        if named and str(data.get("character_id")) != named[1]:
            raise ValueError(f"endpoint is of character {named[1]}, character_id is {data.get('character_id')!r}")
        return data

    @field_validator("endpoint")
    @classmethod
    def _in_normal_form(cls, endpoint: str | None) -> str | None:
        try:
            return None if endpoint is None else normalise(endpoint).name
        except BadInput as error:
            raise ValueError(str(error)) from error

    @property
    def route(self) -> Route:
        """The route that `endpoint` names."""
        assert self.endpoint is not None
        return ROUTES[self.endpoint]


class EsiRefreshResult(Result):
    """What was done: `fresh` (our copy is current, nothing was sent), `not_modified`, `updated`, or `swept`."""

    outcome: Literal["fresh", "not_modified", "updated", "swept"]
    character_id: int | None = None
    endpoint: str | None = None
    #: Whether a request was sent to ESI.
    sent: bool = False
    #: Until when our copy is current.
    fresh_until_ms: int | None = None
    pages: int = 0
    rows_new: int = 0
    rows_changed: int = 0
    events: int = 0
    #: Rows that could not be stored; each is in the table `set_aside_rows` with its reason.
    rows_set_aside: int = 0
    #: Rows that were stored with U+FFFD for characters that databases reject.
    rows_repaired: int = 0
    #: The jobs that a sweep added.
    enqueued: int | None = None


def run(payload: EsiRefreshPayload, services: Services) -> EsiRefreshResult:
    """Make our copy of one route current.

    Running it twice is harmless: the second run finds a fresh copy and sends nothing. Rows are stored under their
    natural keys, events are differences from the stored rows, and an older response never replaces a newer one. The job
    of the next refresh replaces the one that waits, and a sweep adds no second one.
    """
    if payload.sweep:
        return EsiRefreshResult(outcome="swept", enqueued=_sweep(payload, services))
    try:
        synced = _sync(payload, services)
    except Refused as error:
        if _is_subscribed(error.asked_ms, services):
            _add_next(payload, services, error.user_id, error.next_due_ms)
        raise
    if payload.skip_cache and not synced.sent:
        # A request now would get the same response and break CCP's rules: schedule one for when freshness ends.
        due_ms, priority = synced.fresh_until_ms + SLACK_MS, _priority_of(payload.requested_by)
        services.store.documents.save_requested(payload.character, payload.route.name, due_ms=due_ms, priority=priority)
        _add_next(payload, services, synced.user_id, due_ms, priority)
    elif _is_subscribed(synced.asked_ms, services):
        priority = Priority(synced.due_priority or Priority.NORMAL)
        _add_next(payload, services, synced.user_id, synced.next_due_ms, priority)
    if synced.came_online:
        _add_rested(payload, services, synced.user_id)
    return EsiRefreshResult(
        outcome=synced.outcome,
        character_id=payload.character,
        endpoint=payload.route.name,
        sent=synced.sent,
        fresh_until_ms=synced.fresh_until_ms,
        pages=synced.pages,
        rows_new=synced.changes.new,
        rows_changed=synced.changes.changed,
        events=synced.changes.events,
        rows_set_aside=synced.changes.set_aside,
        rows_repaired=synced.changes.repaired,
    )


def _sync(payload: EsiRefreshPayload, services: Services) -> Synced:
    return RouteSync(services).sync(
        payload.character,
        payload.route,
        within_interval=not payload.skip_cache,
        in_full=payload.skip_cache and payload.requested_by == USER,
        subscribes=payload.requested_by != _SCHEDULE,
        for_user=payload.requested_by == USER,
    )


def _priority_of(requested_by: str) -> Priority:
    return Priority.HIGH if requested_by == USER else Priority.NORMAL


def _is_subscribed(asked_ms: int | None, services: Services) -> bool:
    return asked_ms is not None and services.clock.now_ms() - asked_ms < SUBSCRIPTION_MS


def _add_next(
    payload: EsiRefreshPayload, services: Services, user_id: int, due_ms: int, priority: Priority = Priority.NORMAL
) -> None:
    """Add the job of the next refresh in place of any that waits: the newest result knows best when it is due.

    `user_id` is the character's now; the payload may have that of an earlier one.
    """
    delay_ms = max(due_ms - services.clock.now_ms(), 0)
    try:
        queues.add_jobs([_scheduled_job(payload.character, user_id, payload.route.name, priority, delay_ms)])
    except QueueFull as error:
        logger.warning("the next refresh is left to the sweep", route=payload.route.name, error=str(error))


def _add_rested(payload: EsiRefreshPayload, services: Services, user_id: int) -> None:
    """Bring forward the routes that were requested less often while the player was offline."""
    for route in ROUTES.values():
        state = services.store.documents.state(payload.character, route.name) if route.rests_offline else None
        if state is not None and route != payload.route and _is_subscribed(state.asked_ms, services):
            due_ms = (state.synced_ms or 0) + route.interval_seconds * 1000
            _add_next(payload.model_copy(update={"endpoint": route.name}), services, user_id, due_ms)


def _sweep(payload: EsiRefreshPayload, services: Services) -> int:
    """Add the jobs that are missing: because Redis was lost, a job failed, or a player has logged in again.

    A job that waits for a time after the sweep's own jobs is replaced: it does not know that its route is due by now.
    One that is only late, behind others after an outage, stays.
    """
    if any(brake.name in _STOPS_ALL for brake in services.limiter.state().brakes):
        # Deferred jobs come back when it ends; theirs are not missing.
        return 0
    now_ms = services.clock.now_ms()
    overdue = services.store.documents.overdue(
        due_before_ms=now_ms - LATE_MS,
        subscribed_since_ms=now_ms - SUBSCRIPTION_MS,
        queued_before_ms=now_ms - REQUEUE_MS,
        limit=SWEEP_LIMIT,
    )
    # Those without the scope are noted too, so that the next sweep finds others.
    services.store.documents.save_queued(each for each in overdue if not _allowed(each))
    added, allowed = 0, [each for each in overdue if _allowed(each)]
    for at in range(0, len(allowed), _SWEEP_STEP):
        part = allowed[at : at + _SWEEP_STEP]
        try:
            _add_missing(payload, part)
        except QueueFull as error:
            logger.warning("not all missing refreshes could be added", error=str(error))
            break
        services.store.documents.save_queued(part)
        added += len(part)
    return added


def _add_missing(payload: EsiRefreshPayload, routes: Sequence[OverdueRoute]) -> None:
    found = queues.add_jobs([_missing_job(payload, each, replaces=False) for each in routes])
    last_ms = (time.time() + payload.spread_seconds) * 1000
    pairs = zip(routes, found, strict=True)
    waits_longer = [route for route, job in pairs if not job.new and _starts_after(job, last_ms)]
    if waits_longer:
        queues.add_jobs([_missing_job(payload, each, replaces=True) for each in waits_longer])


def _starts_after(added: AddedJob, at_ms: float) -> bool:
    job = queues.get_queue(QUEUE).get(added.id) if added.state == "delayed" else None
    return job is not None and job.due_ms is not None and job.due_ms > at_ms


def _missing_job(payload: EsiRefreshPayload, due: OverdueRoute, *, replaces: bool) -> NewJob:
    return _scheduled_job(
        due.character_id,
        due.user_id,
        due.route,
        Priority(due.priority or Priority.NORMAL),
        payload.delay_ms(NAME, due.character_id, due.route),
        replaces=replaces,
    )


def _allowed(due: OverdueRoute) -> bool:
    route = ROUTES.get(due.route)
    return route is not None and due.scopes.issuperset(route.scopes)


def _scheduled_job(
    character_id: int, user_id: int | None, route: str, priority: Priority, delay_ms: int, *, replaces: bool = True
) -> NewJob:
    return NewJob(
        queue=QUEUE,
        job_type=NAME,
        data={"character_id": character_id, "user_id": user_id, "endpoint": route, "requested_by": _SCHEDULE},
        priority=priority,
        delay=delay_ms,
        requested_by=_SCHEDULE,
        unique_key=f"{character_id}{route}",
        unique_until="start",
        unique_replace=replaces,
    )


def refresh_esi_data(
    character_id: int,
    user_id: int,
    endpoint: str,
    *,
    skip_cache: bool = False,
    priority: PriorityValue | None = None,
    requested_by: str = "system",
) -> AddedJob:
    """Add a job that refreshes one endpoint (such as `/latest/characters/{character_id}/wallet/`) of a character.

    The default priority is HIGH if `requested_by` is "user", else NORMAL. Raises the same errors as `Queues.add_job`.
    """
    return queues.add_jobs([_new_job(character_id, user_id, endpoint, skip_cache, priority, requested_by)])[0]


def refresh_stale_data(character_id: int, user_id: int, endpoint: str, *, skip_cache: bool = False) -> AddedJob:
    """Add a job that refreshes one endpoint for a reader, unless one that was added so has not ended.

    Raises the same errors as `Queues.add_job`.
    """
    return queues.add_jobs(
        [
            NewJob(
                queue=QUEUE,
                job_type=NAME,
                data={"character_id": character_id, "user_id": user_id, "endpoint": endpoint, "skip_cache": skip_cache},
                unique_key=f"stale{character_id}{normalise(endpoint).name}",
                unique_until="end",
            )
        ]
    )[0]


def refresh_character_data(
    character_id: int,
    user_id: int,
    groups: Sequence[str],
    *,
    skip_cache: bool = False,
    priority: PriorityValue | None = None,
    requested_by: str = "system",
) -> list[AddedJob]:
    """Add a job for each route of the endpoint `groups` (such as `CHARACTER_WALLET`), all in one call.

    Raises the same errors as `Queues.add_job`, and `BadInput` with the groups that exist; then nothing is enqueued.
    """
    return queues.add_jobs(
        [
            _new_job(character_id, user_id, route.name, skip_cache, priority, requested_by)
            for route in routes_of([groups] if isinstance(groups, str) else groups)
        ]
    )


def routes_of(groups: Iterable[str]) -> list[Route]:
    """Return the routes of endpoint groups, each once.

    Raises `BadInput` with the groups that exist.
    """
    routes: dict[str, Route] = {}
    for group in groups:
        if not isinstance(group, str) or group not in GROUPS:
            raise _unknown_group(group)
        routes.update({route.name: route for route in GROUPS[group]})
    return list(routes.values())


def _unknown_group(name: object) -> BadInput:
    nearest = difflib.get_close_matches(safe_str(name, 200).upper(), GROUPS, n=2, cutoff=0.4)
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
    allowed = list(GROUPS)
    return BadInput(
        f"unknown endpoint group {safe_repr(name, 200)}{hint} (allowed: {', '.join(allowed)})", accepted=allowed
    )


def _new_job(
    character_id: int,
    user_id: int,
    endpoint: str,
    skip_cache: bool,
    priority: PriorityValue | None,
    requested_by: str,
) -> NewJob:
    return NewJob(
        queue=QUEUE,
        job_type=NAME,
        data={
            "character_id": character_id,
            "user_id": user_id,
            "endpoint": endpoint,
            "skip_cache": skip_cache,
            "requested_by": requested_by,
        },
        priority=_priority_of(requested_by) if priority is None else priority,
        requested_by=requested_by,
    )


ESI_DATA_REFRESH = JobType(
    name=NAME,
    queue=QUEUE,
    payload=EsiRefreshPayload,
    result=EsiRefreshResult,
    run=run,
    priority=Priority.NORMAL,
    attempts=3,
    backoff=Backoff("exponential", 2000),
    time_limit_ms=120_000,
    concurrency=10,
    indexed=("character_id", "user_id", "endpoint"),
    uses_esi=True,
    schedules=(
        Schedule(
            name=NAME,
            description="Add the refreshes of ESI routes that are overdue and have lost their job, every five minutes",
            expression=CRON_EXPRESSIONS["EVERY_5_MINUTES"],
            data={"sweep": True, "spread_seconds": 240},
        ),
    ),
    description="Makes our copy of one ESI route of one character current.",
)
