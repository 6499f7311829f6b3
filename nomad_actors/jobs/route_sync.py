"""Brings our copy of one route of one character up to date, and its rows into the history.

A refresh costs one read transaction and one write transaction; a "not modified" touches no document.
The order prevents lost data: rows, document and validator are saved in one database transaction, and only then is the
disposable copy put into the cache. A crash at any point costs one more request.
"""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn

import redis

from ..broker.errors import PermanentError
from ..errors import NomadError, TryLater, Unavailable
from ..esi import (
    Copy,
    EsiError,
    EsiRefused,
    EsiResponse,
    EsiUnavailable,
    NotSent,
    Route,
    SsoError,
    TokenUnchecked,
)
from ..esi.limits import flight
from ..esi.limits.brakes import REJECTED_MS, rejected, unchecked
from ..esi.sifting import sifted
from ..logs import get_logger
from ..queues.current_job import current_job
from ..store import ONLINE, Changes, Character, Login, RouteState
from .due_times import SLACK_MS, as_of_ms, next_due_ms, refused_ms, trouble_seconds
from .services import Services
from .token_keeper import TokenKeeper

#: A 500 or a useless body that comes back this often is a bad record of that character (esi-issues #1063, #564).
LASTING, LASTING_FAILURES = (200, 204, 500), 3
#: Limits and downtime are not failures of the route; their brakes say when it is requested again.
WEATHER = (420, 429, 503)
#: `asked_ms` is written at most this often: subscriptions end after weeks.
_ASKED_STEP_MS = 3_600_000
#: For how long a player is believed to be offline after the last response that said so.
PRESENCE_MS = 86_400_000
#: What was stored later than now was stored with a wrong clock.
_CLOCK_ERROR_MS = 60_000

Outcome = Literal["fresh", "not_modified", "updated"]

logger = get_logger("esi-refresh-job")


class Refused(PermanentError):
    """Raised if ESI refuses a route of a character, or cannot answer it; it is requested again at `next_due_ms`."""

    def __init__(self, message: str, *, user_id: int, next_due_ms: int, asked_ms: int | None) -> None:
        super().__init__(message)
        self.user_id = user_id
        self.next_due_ms = next_due_ms
        self.asked_ms = asked_ms


@dataclass(frozen=True)
class Synced:
    """The result: our copy was fresh, ESI confirmed it, or ESI sent a new one."""

    outcome: Outcome
    fresh_until_ms: int
    next_due_ms: int
    #: Whose the character is now: the job may be older than that.
    user_id: int
    #: When somebody last asked for it.
    asked_ms: int | None
    changes: Changes
    pages: int = 0
    #: The player was offline and is online.
    came_online: bool = False
    #: How urgent the next refresh is, if a user asked for it.
    due_priority: int | None = None

    @property
    def sent(self) -> bool:
        """Whether a request was sent to ESI."""
        return self.outcome != "fresh"


@dataclass(frozen=True)
class _Known:
    """What is stored about a route of a character, read at one instant."""

    character_id: int
    route: Route
    state: RouteState | None
    #: With tokens only if the route needs one.
    character: Character
    #: When somebody last asked for it; this job counts.
    asked_ms: int | None = None
    #: Since when the player is offline, by a response that still says something.
    rests_since_ms: int | None = None

    @property
    def login(self) -> Login | None:
        return self.character if isinstance(self.character, Login) else None

    @property
    def offline_since_ms(self) -> int | None:
        return self.character.offline_since_ms

    def copy(self, *, in_full: bool) -> Copy:
        """Return our copy as ESI is asked about it; `in_full` without its validators."""
        if self.state is None:
            return Copy()
        if in_full or self.state.pages is None:
            # Without its document, which was too old to be kept, a "not modified" response would bring nothing.
            return Copy(pages=self.state.pages, failures=self.state.failures)
        return Copy(self.state.etag, self.state.last_modified, self.state.pages, self.state.failures)


class RouteSync:
    """Brings routes up to date with `services`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._documents = services.store.documents

    def sync(
        self,
        character_id: int,
        route: Route,
        *,
        within_interval: bool = False,
        in_full: bool = False,
        subscribes: bool = False,
        for_user: bool = False,
    ) -> Synced:
        """Make our copy current and store its rows; with `subscribes` the route is subscribed from now on.

        Nothing is sent before CCP's freshness ends, nor, with `within_interval`, before our own interval has passed.
        With `in_full` ESI is not asked whether our copy is still valid, so that a wrong copy is replaced.
        Raises `PermanentError` naming the missing scope or the invalid login, and `Refused`. Errors of ESI's and SSO's
        clients and of the store pass through if a later attempt may succeed.
        """
        with flight(self._services.limiter, route, character_id, owner=_owner()):
            known = self._read(character_id, route)
            if subscribes:
                known = self._save_requested(known)
            now_ms = self._services.clock.now_ms()
            fresh_until_ms = _fresh_until_ms(known.state, route, now_ms=now_ms, within_interval=within_interval)
            if known.state is not None and now_ms < fresh_until_ms:
                return Synced(
                    outcome="fresh",
                    fresh_until_ms=fresh_until_ms,
                    next_due_ms=max(known.state.next_due_ms, fresh_until_ms + SLACK_MS),
                    user_id=known.character.user_id,
                    asked_ms=known.asked_ms,
                    changes=Changes(),
                    due_priority=known.state.due_priority,
                )
            self._check_refusal(known)
            _check_scopes(known)
            return self._refresh(known, known.copy(in_full=in_full), for_user)

    def _read(self, character_id: int, route: Route) -> _Known:
        logins = self._services.store.logins
        with self._services.store.database.read():
            state = self._documents.state(character_id, route.name)
            character = logins.get(character_id) if route.scopes else logins.character(character_id)
            if character is None:
                raise PermanentError(f"character {character_id} never logged in")
            rests_since_ms = self._rests_since_ms(character, route)
        return _Known(
            character_id, route, state, character, state.asked_ms if state is not None else None, rests_since_ms
        )

    def _rests_since_ms(self, character: Character, route: Route) -> int | None:
        """Return since when the player is offline; None if that is not known, or does not matter for the route."""
        if not route.rests_offline or character.offline_since_ms is None:
            return None
        online = self._documents.state(character.character_id, ONLINE)
        if online is None or online.synced_ms is None or online.refused_until_ms is not None:
            return None
        is_recent = self._services.clock.now_ms() - online.synced_ms <= PRESENCE_MS
        return character.offline_since_ms if is_recent else None

    def _save_requested(self, known: _Known) -> _Known:
        now_ms = self._services.clock.now_ms()
        if known.asked_ms is None or now_ms - known.asked_ms > _ASKED_STEP_MS:
            self._documents.save_requested(known.character_id, known.route.name)
        return dataclasses.replace(known, asked_ms=now_ms)

    def _refresh(self, known: _Known, copy: Copy, for_user: bool) -> Synced:
        try:
            response = sifted(known.route, self._fetch(known, copy, for_user))
        except EsiRefused as error:
            raise self._refused(known, "ESI refuses", error) from error
        except EsiUnavailable as error:
            self._save_trouble(known, error)
            raise
        except NotSent as error:
            # The limiter has the reason; a row is written only to show how far a listing has been read.
            if known.route.paging is not None:
                self._save_failure(known, error, was_asked=False)
            raise
        except (SsoError, TryLater) as error:
            self._save_failure(known, error, was_asked=False)
            raise
        return self._save(known, response)

    def _fetch(self, known: _Known, copy: Copy, for_user: bool) -> EsiResponse:
        get = self._request(known, copy, for_user)
        if not known.route.scopes:
            return get(access_token=None)
        keeper = TokenKeeper(self._services)
        if known.login is not None and not keeper.is_valid(known.login):
            # No token is refreshed for a request that a brake stops.
            self._services.limiter.check(known.route, known.character_id, for_user=for_user)
        token = keeper.get_token(known.character_id, known=known.login)
        try:
            return get(access_token=token.access_token)
        except (EsiRefused, TokenUnchecked) as error:
            if error.status != 401 and not isinstance(error, TokenUnchecked):
                raise
            if token.refreshed:
                self._blame(known.character_id, error)
        # The token ended early, by CCP or a wrong clock: a refresh and one more request show if the login is valid.
        renewed = keeper.get_token(known.character_id, other_than=token.access_token)
        try:
            return get(access_token=renewed.access_token)
        except (EsiRefused, TokenUnchecked) as error:
            self._blame(known.character_id, error)

    def _blame(self, character_id: int, error: EsiError) -> NoReturn:
        """Raise the error of a request with a fresh token; set a brake for requests that would fail in the same way."""
        if isinstance(error, TokenUnchecked):
            self._services.limiter.brake(unchecked(str(error)))
        elif error.status == 401:
            self._services.limiter.brake(rejected(character_id, str(error)))
            raise EsiUnavailable(str(error), status=401, retry_after_seconds=REJECTED_MS / 1000) from error
        raise error

    def _request(self, known: _Known, copy: Copy, for_user: bool) -> Callable[..., EsiResponse]:
        """Return the request for a route, which needs only the access token."""
        esi, route, character_id = self._services.esi, known.route, known.character_id
        if route.paging in (None, "last_mail_id"):
            return functools.partial(esi.get, route, character_id=character_id, etag=copy.etag, for_user=for_user)
        # A process may have died in its first walk, before there was a state.
        may_be_held = known.state is None or known.state.pages_held > 0
        held = self._services.store.listing_pages.of(character_id, route.name, may_be_held=may_be_held)
        return functools.partial(esi.get_all, route, character_id=character_id, copy=copy, held=held, for_user=for_user)

    def _save(self, known: _Known, response: EsiResponse) -> Synced:
        now_ms, route = self._services.clock.now_ms(), known.route
        due_ms = next_due_ms(
            route,
            known.character_id,
            fresh_until_ms=response.fresh_until_ms,
            now_ms=now_ms,
            offline_since_ms=known.rests_since_ms,
        )
        state = known.state
        true_ms = as_of_ms(
            route,
            response,
            now_ms=now_ms,
            stored_ms=None if state is None else state.as_of_ms,
            stored_last_modified=None if state is None else state.last_modified,
        )
        save = self._documents.renew if response.not_modified else self._documents.save
        changes = save(
            known.character_id,
            route.name,
            response,
            as_of_ms=true_ms,
            next_due_ms=due_ms,
            owner_hash=known.character.owner_hash,
        )
        self._copy_to_cache(known, response)
        return Synced(
            outcome="not_modified" if response.not_modified else "updated",
            fresh_until_ms=response.fresh_until_ms,
            next_due_ms=due_ms,
            user_id=known.character.user_id,
            asked_ms=known.asked_ms,
            changes=changes,
            pages=response.pages,
            came_online=known.offline_since_ms is not None and _is_online(route, response),
        )

    def _copy_to_cache(self, known: _Known, response: EsiResponse) -> None:
        cache, character_id, route = self._services.cache, known.character_id, known.route
        try:
            if response.not_modified:
                if cache.renew(character_id, route, fresh_until_ms=response.fresh_until_ms):
                    return
                body = self._documents.body(character_id, route.name)
                if body is None:
                    # It was deleted, for its age, since ESI was asked.
                    return
                response = dataclasses.replace(response, body=body, not_modified=False, status=200)
            cache.put(character_id, route, response)
        except (redis.RedisError, Unavailable) as error:
            # The database has it; readers of the cache get an older copy or none.
            logger.warning("a document could not be put into the cache", route=route.name, error=str(error))

    def _check_refusal(self, known: _Known) -> None:
        """Fail without a request while a refusal is remembered: one more would use up shared limits."""
        now_ms, state = self._services.clock.now_ms(), known.state
        if state is None or state.refused_until_ms is None or now_ms >= state.refused_until_ms:
            return
        minutes = (state.refused_until_ms - now_ms) / 60_000
        raise Refused(
            f"nothing was sent for {known.route.name} of character {known.character_id}, because of ESI's last answer: "
            f"{state.error}; it is requested again after {minutes:.0f} min, or after a new login",
            user_id=known.character.user_id,
            next_due_ms=state.refused_until_ms,
            asked_ms=known.asked_ms,
        )

    def _refused(self, known: _Known, what: str, error: EsiError) -> Refused:
        """Save a refusal, and return the error that says `what` ESI does."""
        refusals = (known.state.refusals if known.state is not None else 0) + 1
        until_ms = self._services.clock.now_ms() + refused_ms(known.route, known.character_id, refusals=refusals)
        self._save_failure(known, error, refused_until_ms=until_ms)
        message = f"{what} {known.route.name} of character {known.character_id}: {error}"
        return Refused(message, user_id=known.character.user_id, next_due_ms=until_ms, asked_ms=known.asked_ms)

    def _save_trouble(self, known: _Known, error: EsiUnavailable) -> None:
        """Save why ESI gave no answer; the next attempt is later each time, and a lasting 500 is a refusal."""
        if error.status in WEATHER:
            self._save_failure(known, error, was_asked=False)
            return
        failures = (known.state.failures if known.state is not None else 0) + 1
        if error.status in LASTING and failures > LASTING_FAILURES:
            what = "ESI cannot answer" if error.status == 500 else "ESI's answers cannot be used for"
            raise self._refused(known, what, error) from error
        self._save_failure(known, error)
        error.retry_after_seconds = max(error.retry_after_seconds, trouble_seconds(failures))

    def _save_failure(
        self, known: _Known, error: NomadError, *, refused_until_ms: int | None = None, was_asked: bool = True
    ) -> None:
        self._documents.save_failure(
            known.character_id,
            known.route.name,
            error=str(error),
            request_id=getattr(error, "request_id", None),
            refused_until_ms=refused_until_ms,
            was_asked=was_asked,
        )


def _owner() -> str:
    """Return the id of the job that this code runs in: after a crash it continues what it began."""
    try:
        return current_job().id
    except NomadError:
        return uuid.uuid4().hex


def _check_scopes(known: _Known) -> None:
    """Refuse before a request: each 403 uses up an error budget that all characters share."""
    missing = [scope for scope in known.route.scopes if scope not in known.character.scopes]
    if missing:
        raise PermanentError(
            f"the login of character {known.character_id} lacks the scope {', '.join(missing)}, which "
            f"{known.route.name} needs; nothing was sent; the player must log in with it"
        )


def _is_online(route: Route, response: EsiResponse) -> bool:
    return route.name == ONLINE and isinstance(response.body, dict) and response.body.get("online") is True


def _fresh_until_ms(state: RouteState | None, route: Route, *, now_ms: int, within_interval: bool) -> int:
    if state is None or state.synced_ms is None or state.synced_ms > now_ms + _CLOCK_ERROR_MS:
        return 0
    # A user's request may have made it due before our interval ends.
    ours_ms = min(state.synced_ms + route.interval_seconds * 1000, state.next_due_ms) if within_interval else 0
    return max(state.fresh_until_ms or 0, ours_ms)
