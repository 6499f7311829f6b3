"""Brings our copy of one route of one character up to date, and its rows into the history.

The order prevents lost data: rows, document and validator are saved in one database transaction, and only then is the
disposable copy put into the cache. A crash at any point costs one more request.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Literal, NoReturn

import redis

from ..broker.errors import PermanentError
from ..errors import Unavailable
from ..esi import EsiError, EsiRefused, EsiResponse, EsiUnavailable, NotSent, Route, SsoError, TokenUnchecked
from ..esi.limits.brakes import REJECTED_MS, rejected, unchecked
from ..esi.sifting import sifted
from ..logs import get_logger
from ..store import EVERYTHING, Changes, RouteState, Window
from .due_times import as_of_ms, next_due_ms, refused_ms, trouble_seconds
from .services import Services
from .token_keeper import TokenKeeper

#: A 500 or a useless body that comes back this often is a bad record of that character (esi-issues #1063, #564).
LASTING, LASTING_FAILURES = (200, 204, 500), 3
#: Limits and downtime are not failures of the route; their brakes say when it is requested again.
WEATHER = (420, 429, 503)

Outcome = Literal["fresh", "not_modified", "updated"]

logger = get_logger("esi-refresh-job")


@dataclass(frozen=True)
class Synced:
    """The result: our copy was fresh, ESI confirmed it, or ESI sent a new one."""

    outcome: Outcome
    fresh_until_ms: int
    changes: Changes
    pages: int = 0

    @property
    def sent(self) -> bool:
        """Whether a request was sent to ESI."""
        return self.outcome != "fresh"


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
        window: Window = EVERYTHING,
        within_interval: bool = False,
        for_user: bool = False,
    ) -> Synced:
        """Make our copy current and store its rows within `window`.

        Nothing is sent before CCP's freshness ends, nor, with `within_interval`, before our own interval has passed.
        Raises `PermanentError` naming the missing scope, the refusal or the invalid login. Errors of ESI's and SSO's
        clients and of the store pass through if a later attempt may succeed.
        """
        state = self._documents.state(character_id, route.name)
        fresh_until_ms = _fresh_until_ms(state, route, within_interval=within_interval)
        if self._services.clock.now_ms() < fresh_until_ms:
            return Synced("fresh", fresh_until_ms, self._catch_up(character_id, route, state, window))
        self._check_refusal(character_id, route, state)
        self._check_scopes(character_id, route)
        try:
            response = sifted(route, self._fetch(character_id, route, state, for_user))
        except EsiRefused as error:
            self._save_refusal(character_id, route, state, error)
            raise PermanentError(f"ESI refuses {route.name} of character {character_id}: {error}") from error
        except (NotSent, SsoError) as error:
            self._documents.save_failure(character_id, route.name, error=str(error), was_asked=False)
            raise
        except EsiUnavailable as error:
            self._save_trouble(character_id, route, state, error)
            raise
        return self._save(character_id, route, response, window)

    def _catch_up(self, character_id: int, route: Route, state: RouteState | None, window: Window) -> Changes:
        if state is None or state.rows_complete:
            return Changes()
        return self._documents.catch_up(character_id, route.name, window=window)

    def _check_scopes(self, character_id: int, route: Route) -> None:
        """Refuse before a request: each 403 uses up an error budget that all characters share."""
        character = self._services.store.logins.character(character_id)
        if character is None:
            raise PermanentError(f"character {character_id} never logged in")
        missing = [scope for scope in route.scopes if scope not in character.scopes]
        if missing:
            raise PermanentError(
                f"the login of character {character_id} lacks the scope {', '.join(missing)}, which {route.name} "
                "needs; nothing was sent; the player must log in with it"
            )

    def _fetch(self, character_id: int, route: Route, state: RouteState | None, for_user: bool) -> EsiResponse:
        get = functools.partial(self._get, character_id, route, _validator(state, route), for_user)
        if not route.scopes:
            return get(None)
        keeper = TokenKeeper(self._services)
        token = keeper.get_token(character_id)
        try:
            return get(token.access_token)
        except (EsiRefused, TokenUnchecked) as error:
            if error.status != 401 and not isinstance(error, TokenUnchecked):
                raise
            if token.refreshed:
                self._blame(character_id, error)
        # The token ended early, by CCP or a wrong clock: a refresh and one more request show if the login is valid.
        renewed = keeper.get_token(character_id, other_than=token.access_token)
        try:
            return get(renewed.access_token)
        except (EsiRefused, TokenUnchecked) as error:
            self._blame(character_id, error)

    def _blame(self, character_id: int, error: EsiError) -> NoReturn:
        """Raise the error of a request with a fresh token; set a brake for requests that would fail in the same way."""
        if isinstance(error, TokenUnchecked):
            self._services.limiter.brake(unchecked(str(error)))
        elif error.status == 401:
            self._services.limiter.brake(rejected(character_id, str(error)))
            raise EsiUnavailable(str(error), status=401, retry_after_seconds=REJECTED_MS / 1000) from error
        raise error

    def _get(
        self, character_id: int, route: Route, etag: str | None, for_user: bool, access_token: str | None
    ) -> EsiResponse:
        esi = self._services.esi
        get = esi.get if route.paging in (None, "last_mail_id") else esi.get_all
        return get(route, character_id=character_id, access_token=access_token, etag=etag, for_user=for_user)

    def _save(self, character_id: int, route: Route, response: EsiResponse, window: Window) -> Synced:
        now_ms = self._services.clock.now_ms()
        due_ms = next_due_ms(route, character_id, fresh_until_ms=response.fresh_until_ms, now_ms=now_ms)
        true_ms = as_of_ms(route, response, now_ms=now_ms)
        save = self._documents.renew if response.not_modified else self._documents.save
        changes = save(character_id, route.name, response, as_of_ms=true_ms, next_due_ms=due_ms, window=window)
        self._copy_to_cache(character_id, route, response)
        outcome: Outcome = "not_modified" if response.not_modified else "updated"
        return Synced(outcome, response.fresh_until_ms, changes, response.pages)

    def _copy_to_cache(self, character_id: int, route: Route, response: EsiResponse) -> None:
        if response.not_modified:
            body = self._documents.body(character_id, route.name)
            response = dataclasses.replace(response, body=body, not_modified=False, status=200)
        try:
            self._services.cache.put(character_id, route, response)
        except (redis.RedisError, Unavailable) as error:
            # The database has it; readers of the cache get an older copy or none.
            logger.warning("a document could not be put into the cache", route=route.name, error=str(error))

    def _check_refusal(self, character_id: int, route: Route, state: RouteState | None) -> None:
        """Fail without a request while a refusal is remembered: one more would use up shared limits."""
        now_ms = self._services.clock.now_ms()
        if state is None or state.refused_until_ms is None or now_ms >= state.refused_until_ms:
            return
        minutes = (state.refused_until_ms - now_ms) / 60_000
        raise PermanentError(
            f"ESI refused {route.name} of character {character_id}: {state.error}; nothing was sent; "
            f"it is asked again after {minutes:.0f} min, or after a new login"
        )

    def _save_refusal(self, character_id: int, route: Route, state: RouteState | None, error: EsiError) -> None:
        refusals = (state.refusals if state is not None else 0) + 1
        self._documents.save_failure(
            character_id,
            route.name,
            error=str(error),
            request_id=error.request_id,
            refused_until_ms=self._services.clock.now_ms() + refused_ms(route, character_id, refusals=refusals),
        )

    def _save_trouble(self, character_id: int, route: Route, state: RouteState | None, error: EsiUnavailable) -> None:
        """Save why ESI gave no answer; the next attempt is later each time, and a lasting 500 is a refusal."""
        if error.status in WEATHER:
            self._documents.save_failure(
                character_id, route.name, error=str(error), request_id=error.request_id, was_asked=False
            )
            return
        failures = (state.failures if state is not None else 0) + 1
        if error.status in LASTING and failures > LASTING_FAILURES:
            self._save_refusal(character_id, route, state, error)
            raise PermanentError(f"ESI cannot answer {route.name} of character {character_id}: {error}") from error
        self._documents.save_failure(character_id, route.name, error=str(error), request_id=error.request_id)
        error.retry_after_seconds = max(error.retry_after_seconds, trouble_seconds(failures))


def _validator(state: RouteState | None, route: Route) -> str | None:
    """Return the ETag of our copy, or None to request it in full.

    A listing of several pages is requested in full: each page has its own ETag, and the first may be unchanged while
    another changed.
    """
    if state is None or (route.paging == "x-pages" and state.pages != 1):
        return None
    return state.etag


def _fresh_until_ms(state: RouteState | None, route: Route, *, within_interval: bool) -> int:
    if state is None or state.synced_ms is None:
        return 0
    ours_ms = state.synced_ms + route.interval_seconds * 1000 if within_interval else 0
    return max(state.fresh_until_ms or 0, ours_ms)
