"""The job that keeps logins alive: refreshes one character's access token, or adds a job for each login that is due."""

from __future__ import annotations

import zlib

from .. import queues
from ..queues import AddedJob, NewJob
from ..queues.job_type import JobType, Result
from ..queues.policy import Backoff, Priority, PriorityValue
from ..queues.schedules.calendar import CRON_EXPRESSIONS
from ..queues.schedules.schedule import Schedule
from ..store import Character
from .payloads import CharacterPayload
from .services import Services
from .token_keeper import NEAR_EXPIRY_SECONDS, TokenKeeper

NAME = QUEUE = "token-refresh"
#: Sweeps run every two hours; each login has its sweep of the day. One that was refreshed almost a day ago does not
#: wait for it, so that a dead one is found within a day.
_SWEEP_MS, _DAY_MS = 7_200_000, 86_400_000


class TokenRefreshPayload(CharacterPayload):
    """One character's login; with `sweep`, every idle login that is due. Each is due once a day."""


class TokenRefreshResult(Result):
    """What was done: with `refreshed` false the token was still valid, until `expires_at_ms`."""

    character_id: int | None = None
    refreshed: bool = False
    expires_at_ms: int | None = None
    #: The jobs that a sweep added.
    enqueued: int | None = None


def run(payload: TokenRefreshPayload, services: Services) -> TokenRefreshResult:
    """Refresh a login whose access token is about to expire.

    Running it twice is harmless: the second run finds a valid token and sends nothing. Two runs at once share one
    flight, and only the holder of the login's latest version can save. A sweep that runs twice adds the same jobs with
    the same ids.
    """
    if payload.sweep:
        jobs = sweep_jobs(payload, services.store.logins.all(), services.clock.now_ms())
        return TokenRefreshResult(enqueued=len(queues.add_jobs(jobs)) if jobs else 0)
    token = TokenKeeper(services).get_token(payload.character)
    return TokenRefreshResult(
        character_id=payload.character, refreshed=token.refreshed, expires_at_ms=token.login.access_expires_ms
    )


def sweep_jobs(payload: TokenRefreshPayload, logins: list[Character], now_ms: int) -> list[NewJob]:
    """Return a job for every idle login that is due: it is unused, so nobody else would notice that SSO rejects it."""
    return [
        NewJob(
            queue=QUEUE,
            job_type=NAME,
            data={"character_id": login.character_id, "user_id": login.user_id},
            delay=payload.delay_ms(NAME, login.character_id),
            requested_by="schedule",
            job_id=f"sweep-{NAME}-{login.character_id}",
        )
        for login in logins
        if _is_idle(login, now_ms) and _is_due(login, now_ms)
    ]


def _is_idle(login: Character, now_ms: int) -> bool:
    return login.access_expires_ms is None or login.access_expires_ms < now_ms + NEAR_EXPIRY_SECONDS * 1000


def _is_due(login: Character, now_ms: int) -> bool:
    """Return whether an idle login is refreshed by this sweep: once a day, and as often as possible while in doubt."""
    slots = _DAY_MS // _SWEEP_MS
    is_its_slot = now_ms // _SWEEP_MS % slots == zlib.crc32(str(login.character_id).encode()) % slots
    age_ms = now_ms - login.refreshed_ms
    # A clock that was ahead at the last refresh says nothing about its age.
    return login.strikes > 0 or is_its_slot or age_ms > _DAY_MS - _SWEEP_MS or age_ms < -_SWEEP_MS


def refresh_character_token(character_id: int, user_id: int, priority: PriorityValue | None = None) -> AddedJob:
    """Add a job that refreshes one character's token; use CRITICAL if it is needed now (default: HIGH).

    Raises the same errors as `Queues.add_job`.
    """
    return queues.add_job(QUEUE, NAME, {"character_id": character_id, "user_id": user_id}, priority=priority)


TOKEN_REFRESH = JobType(
    name=NAME,
    queue=QUEUE,
    payload=TokenRefreshPayload,
    result=TokenRefreshResult,
    run=run,
    priority=Priority.HIGH,
    attempts=3,
    backoff=Backoff("exponential", 2000),
    time_limit_ms=60_000,
    concurrency=5,
    indexed=("character_id", "user_id"),
    uses_esi=True,
    schedules=(
        Schedule(
            name=NAME,
            description="Every two hours: refresh the idle logins whose daily turn it is, and find the dead ones",
            expression=CRON_EXPRESSIONS["EVERY_2_HOURS"],
            # Spread over most of the two hours, so that SSO is never asked for all logins at once.
            data={"sweep": True, "spread_seconds": 6_600},
        ),
    ),
    description="Keeps a character's login alive: refreshes its token near expiry.",
)
