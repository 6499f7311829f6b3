"""Provides access tokens. Only this module refreshes logins or marks them as needing a new login.

Access tokens are valid for 20 minutes and are refreshed on use. A login must not be lost:

- One refresh ("flight") per character over all hosts: a refresh holds the login's flight, a column that is taken by
  compare-and-set on the version that was read. Others wait for the new tokens.
- A job that SSO's brake stops takes no flight and writes nothing.
- SSO may rotate the refresh token, which makes the old one void. So the new one is saved before anything else is done
  with the response, whatever the access token turns out to be, by a thread that neither a time limit nor a stopping
  worker interrupts. While the database is away, it is saved encrypted in Redis, where the next refresh finds it.
- If SSO's response names another character, nobody knows whose the new refresh token is, and whether the old one is
  void. The login keeps the old one, and the new one is set aside in Redis. The next refresh tries the new one first:
  using one that was replaced again is what a thief does, and may void the login. If its response names the other
  character again, or it is dead, it is forgotten, and the old one is tried.
- A login is treated as dead only if SSO rejects it twice, at least ten minutes apart, and not while SSO rejects many
  logins; the same goes for a new owner. Such a login is marked, never deleted.
- What is not the login's fault (SSO is down, refuses this application, or its tokens cannot be validated) touches no
  login: it sets the brake for SSO, and the jobs are deferred.

Known limits: a process that is killed between SSO's response and the first write loses a rotated token, and so do a
response that is cut on its way, a process whose database and Redis are both away until it ends, and a token set aside
whose Redis is lost; the player must log in again. A process that is frozen for longer than a flight may be overtaken.
The flight's end is measured by the hosts' clocks.
"""

from __future__ import annotations

import contextvars
import functools
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field, replace
from typing import TypeVar

import redis

from .. import thresholds
from ..broker.errors import PermanentError
from ..errors import TryLater, Unavailable
from ..esi import DeadLogin, SsoUnavailable, Tokens
from ..esi.limits.brakes import sso_down
from ..esi.signing_keys import KEYS_TIMEOUTS_SECONDS
from ..esi.transport import TIMEOUTS_SECONDS
from ..esi.unsaved_tokens import UnsavedTokens
from ..logs import get_logger
from ..store import ACTIVE, Login, LoginChanged, UndecryptableToken
from .services import Services

T = TypeVar("T")

#: A token that expires sooner than this is refreshed: a request may take a while to reach ESI.
NEAR_EXPIRY_SECONDS = 120
#: How long a job waits for another job's flight.
MAX_WAIT_SECONDS = 45.0
MAX_SAVE_SECONDS = 20.0
#: Longer than all that a refresh may wait for: SSO's keys before and after the request, each behind another thread's
#: request for them, the request, two saves, and a margin for the last attempt of each save.
FLIGHT_SECONDS = int(4 * sum(KEYS_TIMEOUTS_SECONDS) + sum(TIMEOUTS_SECONDS) + 2 * MAX_SAVE_SECONDS + 30)
#: Strikes (SSO's rejections of a login) within this time count as one failure of SSO.
STRIKE_GAP_MS = 600_000
#: The pause after a strike, because the character's other jobs would get the same response. Each further strike doubles
#: it: while many logins are rejected at once, none is marked dead, and their jobs keep coming back.
STRIKE_PAUSE_MS, MAX_STRIKE_PAUSE_MS = 60_000, 3_600_000
#: If SSO began to reject as many logins as operators are warned of, and this share of all, within a day, none is marked
#: dead: SSO may be at fault. Those that it still rejects after a day are.
MASS_DEATH_SHARE = 0.1

logger = get_logger("token-keeper-job")


class LoginInDoubt(TryLater):
    """Raised when SSO rejected a login, but not yet often enough to mark it dead; has the time of the next attempt."""


class RefreshBusy(TryLater):
    """Raised when another job's refresh of the same login takes too long."""


@dataclass(frozen=True)
class UsableLogin:
    """A login with a valid access token, and whether it was just refreshed."""

    login: Login
    refreshed: bool

    @property
    def access_token(self) -> str:
        assert self.login.access_token is not None
        return self.login.access_token


@dataclass
class _Versions:
    """The version of a login whose refresh token may be replaced during a refresh, and what could not be decrypted."""

    current: int
    #: Where a token for it is whose key was removed.
    unreadable: list[UnsavedTokens] = field(default_factory=list)


class TokenKeeper:
    """Provides access tokens that remain valid for a while."""

    def __init__(self, services: Services) -> None:
        self._store = services.store
        self._sso = services.sso
        self._clock = services.clock
        self._limiter = services.limiter
        self._unsaved = services.unsaved_tokens
        self._doubtful = UnsavedTokens(services.limiter.client, "doubtful")

    def get_token(self, character_id: int, *, other_than: str | None = None, known: Login | None = None) -> UsableLogin:
        """Return the character's login with a valid access token other than `other_than`; refresh it if necessary.

        `known` is the login as just read.

        Raises `PermanentError` if there is no login or the player must log in again. A later attempt may succeed after
        `LoginInDoubt`, `RefreshBusy`, `NotSent`, `SsoUnavailable` and `SsoMisconfigured`, which name the time, and
        after `Unavailable`.
        """
        deadline = time.monotonic() + MAX_WAIT_SECONDS
        while time.monotonic() < deadline:
            login, known = _usable(character_id, known or self._store.logins.get(character_id)), None
            if self.is_valid(login) and login.access_token != other_than:
                return UsableLogin(login, refreshed=False)
            self._check_strike_pause(login)
            self._limiter.check_sso()
            flight = uuid.uuid4().hex
            if self._store.logins.take_flight(character_id, login.version, flight=flight, seconds=FLIGHT_SECONDS):
                if uninterrupted(functools.partial(self._refresh, login, flight)):
                    return UsableLogin(_usable(character_id, self._store.logins.get(character_id)), refreshed=True)
            else:
                time.sleep(0.05)
        raise RefreshBusy(
            f"another job has been refreshing the login of character {character_id} for {MAX_WAIT_SECONDS:g} s",
            # Even an abandoned flight has expired by then.
            retry_after_seconds=FLIGHT_SECONDS - MAX_WAIT_SECONDS,
        )

    def is_valid(self, login: Login) -> bool:
        """Return whether the access token is valid for long enough."""
        if login.access_token is None or login.access_expires_ms is None:
            return False
        return login.access_expires_ms - self._clock.now_ms() >= NEAR_EXPIRY_SECONDS * 1000

    def _check_strike_pause(self, login: Login) -> None:
        pause_ms = _strike_pause_ms(login.strikes)
        left_ms = (login.last_strike_ms or 0) + pause_ms - self._clock.now_ms()
        if login.strikes and left_ms > 0:
            # Never longer than the pause, even if the clock was wrong at the strike.
            raise _in_doubt(login.character_id, min(left_ms, pause_ms))

    def _refresh(self, login: Login, flight: str) -> bool:
        """Refresh and save a login; return False if somebody else changed it meanwhile, whose tokens are valid."""
        versions = _Versions(login.version)
        try:
            if self._save_unsaved(login, versions):
                return False
            aside = self._kept(self._doubtful, login, versions)
            if aside is not None:
                token = self._store.logins.unseal(login.character_id, aside)
                return self._refresh_with_doubtful(login, token, versions)
            self._refresh_with(login, login.refresh_token, versions)
            # The login's own token works, so that nobody needs them: one warning is enough.
            for tokens in versions.unreadable:
                tokens.drop(login.character_id)
        except DeadLogin as error:
            self._count_strike(replace(login, version=versions.current), error)
            return False
        except LoginChanged:
            logger.warning("the player logged in while the old login was refreshed; the new login is kept")
            return False
        finally:
            self._end(login, flight)
        return True

    def _refresh_with_doubtful(self, login: Login, refresh_token: str, versions: _Versions) -> bool:
        """Refresh with a token that was set aside; return False if it is of no use: then the login's own is tried."""
        try:
            self._refresh_with(login, refresh_token, versions)
        except DeadLogin:
            if versions.current != login.version:
                raise  # It was this character's, and has been replaced: this is about the owner.
            self._doubtful.drop(login.character_id)
            return False
        self._doubtful.drop(login.character_id)
        return True

    def _refresh_with(self, login: Login, refresh_token: str, versions: _Versions) -> None:
        tokens = self._sso.refresh(
            refresh_token,
            save_rotated=lambda token, named: self._save_rotated(login, refresh_token, token, named, versions),
        )
        if tokens.character_id != login.character_id and refresh_token != login.refresh_token:
            self._doubtful.drop(login.character_id)
        self._check_owner(login, tokens)
        self._save(login, versions.current, tokens)

    def _check_owner(self, login: Login, tokens: Tokens) -> None:
        if tokens.character_id != login.character_id:
            problem = f"SSO answered for character {tokens.character_id} to a token of character {login.character_id}"
            # The next login's response may be mixed up too.
            self._limiter.brake(sso_down(problem, retry_after_seconds=None))
            raise SsoUnavailable(problem)
        # A claim that is missing says nothing: SSO has left it out before.
        if login.owner_hash and tokens.owner_hash and tokens.owner_hash != login.owner_hash:
            # ESI's data would belong to another person: the access token is not used, and not saved.
            raise DeadLogin("the character has a new owner")

    def _save_rotated(self, login: Login, used: str, new: str, named: int | None, versions: _Versions) -> None:
        """Save the refresh token that replaces `used`, which is void from now on."""
        if named not in (None, login.character_id):
            self._set_aside(login, used, new)
            return
        sealed = self._store.logins.seal(login.character_id, new)

        def save() -> None:
            # First where it is quick, and where the next refresh looks: the database may be locked or away. With each
            # attempt, as Redis may have been away at the first one and our flight may end before the database is back.
            self._unsaved.put(login.character_id, login.refresh_token, sealed)
            self._store.logins.save_rotated(login.character_id, login.version, sealed)

        self._retry(login, save)
        self._unsaved.drop(login.character_id)
        versions.current = login.version + 1

    def _set_aside(self, login: Login, used: str, new: str) -> None:
        """Keep a refresh token whose response named another character, or forget the one that did so twice."""
        if used == login.refresh_token:
            sealed = self._store.logins.seal(login.character_id, new)
            self._doubtful.put(login.character_id, login.refresh_token, sealed)
        else:
            self._doubtful.drop(login.character_id)

    def _save_unsaved(self, login: Login, versions: _Versions) -> bool:
        """Save a refresh token that was kept in Redis while the database was away; return whether there was one."""
        sealed = self._kept(self._unsaved, login, versions)
        if sealed is None:
            return False
        self._store.logins.save_rotated(login.character_id, login.version, sealed)
        self._unsaved.drop(login.character_id)
        logger.warning("saved a refresh token that the database missed", character_id=login.character_id)
        return True

    def _kept(self, tokens: UnsavedTokens, login: Login, versions: _Versions) -> str | None:
        """Return the encrypted token that Redis has; None without one, or if nobody has its key any more."""
        try:
            sealed = tokens.get(login.character_id, login.refresh_token)
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not say whether it has a newer refresh token: {error}") from error
        try:
            if sealed is not None:
                self._store.logins.unseal(login.character_id, sealed)
        except UndecryptableToken as error:
            logger.warning("a newer refresh token is not used", character_id=login.character_id, error=str(error))
            versions.unreadable.append(tokens)
            return None
        return sealed

    def _save(self, login: Login, version: int, tokens: Tokens) -> None:
        save = functools.partial(
            self._store.logins.save_refreshed,
            login.character_id,
            version,
            refresh_token=tokens.refresh_token,
            access_token=tokens.access_token,
            expires_at_ms=tokens.expires_at_ms,
            scopes=tokens.scopes,
        )
        self._retry(login, save)

    def _retry(self, login: Login, save: Callable[[], None]) -> None:
        deadline = time.monotonic() + MAX_SAVE_SECONDS
        while True:
            try:
                return save()
            except Unavailable:
                if time.monotonic() > deadline:
                    logger.error("a refreshed login could not be saved", character_id=login.character_id)
                    raise
                time.sleep(0.5)

    def _count_strike(self, login: Login, error: DeadLogin) -> None:
        """Count a strike or mark the login dead, and raise; return only if somebody else has changed the login."""
        now_ms = self._clock.now_ms()
        first_ms = login.first_strike_ms
        if first_ms is None or now_ms - first_ms < STRIKE_GAP_MS or self._many_logins_die():
            if self._store.logins.strike(login.character_id, login.version):
                logger.warning("SSO rejected a login", character_id=login.character_id, strikes=login.strikes + 1)
                raise _in_doubt(login.character_id, _strike_pause_ms(login.strikes + 1)) from error
            return
        if self._store.logins.require_login(login.character_id, login.version, reason=str(error)):
            logger.warning("a login is dead, the player must log in", character_id=login.character_id)
            raise PermanentError(f"character {login.character_id} must log in again: {error}") from error

    def _many_logins_die(self) -> bool:
        counts = self._store.logins.counts()
        dead = self._store.logins.count_rejected()
        many = dead >= max(thresholds.ESI.rejected_logins, MASS_DEATH_SHARE * sum(counts.values()))
        if many:
            logger.error("SSO rejected many logins within a day: none is marked dead until that is over", rejected=dead)
        return many

    def _end(self, login: Login, flight: str) -> None:
        try:
            self._store.logins.end_flight(login.character_id, flight=flight)
        except Unavailable:
            # It expires after FLIGHT_SECONDS.
            logger.warning("a flight could not be ended", character_id=login.character_id)


def _usable(character_id: int, login: Login | None) -> Login:
    if login is None:
        raise PermanentError(f"character {character_id} never logged in")
    if login.state != ACTIVE:
        raise PermanentError(f"character {character_id} must log in again: {login.state_reason}")
    return login


def _strike_pause_ms(strikes: int) -> int:
    doubled_ms: int = STRIKE_PAUSE_MS * 2 ** min(max(strikes - 1, 0), 10)
    return min(doubled_ms, MAX_STRIKE_PAUSE_MS)


def _in_doubt(character_id: int, left_ms: int) -> LoginInDoubt:
    return LoginInDoubt(
        f"SSO rejected the login of character {character_id}, which is not marked dead yet; "
        f"SSO is asked again after {left_ms / 1000:.0f} s",
        retry_after_seconds=left_ms / 1000,
    )


def uninterrupted(function: Callable[[], T]) -> T:
    """Return what `function` returns, run on a thread that Dramatiq's time limit and shutdown do not interrupt.

    The waiting caller can be interrupted; `function` still runs to its end. Raises what `function` raises.
    """
    future: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(function))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="token-flight").start()
    while True:
        try:
            # An interrupt reaches a thread only between two Python instructions, so wait in short steps.
            return future.result(timeout=0.5)
        except FutureTimeout:
            if future.done():
                raise
