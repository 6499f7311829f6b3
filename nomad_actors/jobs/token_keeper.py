"""The keeper of access tokens: the one way to get one, and the one place where logins are refreshed or condemned.

Access tokens live 20 minutes, so they are refreshed when one is used. What must not happen is that a login is lost:

- One flight per character over all hosts: whoever refreshes holds the login's flight, a column that is taken by
  compare-and-set on the version it read. Others wait for the new tokens.
- SSO may rotate the refresh token, and then the old one is dead: the answer is saved before its access token is used,
  by a thread that neither a time limit nor a stopping worker interrupts, and again if the database is away.
- SSO's word that a login is dead is believed when it said so twice, ten minutes apart, and not when it says so of
  many logins at once. A dead login is marked, never deleted.

What falls short: a process that is killed between SSO's answer and the commit loses a rotated token (the player must
log in again), and one that is frozen for longer than a flight may be overtaken; the flight's end is measured on the
hosts' clocks.
"""

from __future__ import annotations

import contextvars
import functools
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from typing import TypeVar

from ..broker.errors import PermanentError
from ..errors import TryLater, Unavailable
from ..esi import DeadLogin, SsoMisconfigured, Tokens
from ..logs import get_logger
from ..store import ACTIVE, Login, LoginChanged
from .services import Services

T = TypeVar("T")

#: A token with less than this left is refreshed: a request may take a while to reach ESI.
NEAR_EXPIRY_SECONDS = 120
#: Longer than SSO's read timeout and the saving together.
FLIGHT_SECONDS = 90
#: How long a job waits for another one's flight.
PATIENCE_SECONDS = 45.0
SAVE_PATIENCE_SECONDS = 20.0
#: Two strikes closer together than this are one bad moment of SSO's.
STRIKE_GAP_MS = 600_000
#: After a strike SSO is left alone this long: the character's other jobs would only ask the same. Each further strike
#: doubles it: while many logins die at once none is condemned, and their jobs keep coming back.
STRIKE_PAUSE_MS, MAX_STRIKE_PAUSE_MS = 60_000, 3_600_000
#: With this many logins condemned within an hour, and this share of all, SSO is doubted and not the logins.
MASS_DEATH_COUNT, MASS_DEATH_SHARE = 5, 0.1
_HOUR_MS = 3_600_000
#: More than five parallel refreshes were answered with 500s and cut connections (ccpgames/sso-issues #58).
_SSO_PLACES = threading.BoundedSemaphore(4)

logger = get_logger("token-keeper-job")


class LoginInDoubt(TryLater):
    """Raised when SSO called a login dead, but not yet often enough to believe it; says when SSO is asked again."""


class RefreshBusy(TryLater):
    """Raised when another job's refresh of the same login takes longer than anyone should wait."""


@dataclass(frozen=True)
class Kept:
    """A login whose access token can be used, and whether it was refreshed for this."""

    login: Login
    refreshed: bool

    @property
    def access_token(self) -> str:
        """The access token."""
        assert self.login.access_token is not None
        return self.login.access_token


class TokenKeeper:
    """Gives out access tokens that still live a while."""

    def __init__(self, services: Services) -> None:
        self._store = services.store
        self._sso = services.sso
        self._clock = services.clock

    def keep(self, character_id: int, *, other_than: str | None = None) -> Kept:
        """Return the character's login with a living access token, which is not `other_than`, refreshed if need be.

        Raises `PermanentError` when there is no login or it needs the player; `LoginInDoubt`, `RefreshBusy` and
        `SsoLimited` when a later try may do better, and say when; `SsoUnavailable` and `Unavailable` do not know.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            login = self._login(character_id)
            if self._lives(login) and login.access_token != other_than:
                return Kept(login, refreshed=False)
            self._leave_alone_after_strike(login)
            flight = uuid.uuid4().hex
            if self._store.logins.take_flight(character_id, login.version, flight=flight, seconds=FLIGHT_SECONDS):
                if uninterrupted(functools.partial(self._fly, login, flight)):
                    return Kept(self._login(character_id), refreshed=True)
            else:
                time.sleep(0.05)
        raise RefreshBusy(
            f"another job has been refreshing the login of character {character_id} for {PATIENCE_SECONDS:g} s",
            # Its flight is over by then, whatever has become of it.
            retry_after_seconds=FLIGHT_SECONDS - PATIENCE_SECONDS,
        )

    def _login(self, character_id: int) -> Login:
        login = self._store.logins.get(character_id)
        if login is None:
            raise PermanentError(f"character {character_id} never logged in")
        if login.state != ACTIVE:
            raise PermanentError(f"character {character_id} must log in again: {login.state_reason}")
        return login

    def _lives(self, login: Login) -> bool:
        if login.access_token is None or login.access_expires_ms is None:
            return False
        return login.access_expires_ms - self._clock.now_ms() >= NEAR_EXPIRY_SECONDS * 1000

    def _leave_alone_after_strike(self, login: Login) -> None:
        pause_ms = _strike_pause_ms(login.strikes)
        left_ms = (login.last_strike_ms or 0) + pause_ms - self._clock.now_ms()
        if login.strikes and left_ms > 0:
            # No longer than the pause, whatever the clock was at the strike.
            raise _in_doubt(login.character_id, min(left_ms, pause_ms))

    def _fly(self, login: Login, flight: str) -> bool:
        """Refresh `login` and save it; False: it was changed by another meanwhile, whose tokens stand."""
        try:
            with _SSO_PLACES:
                tokens = self._sso.refresh(login.refresh_token)
            self._check_owner(login, tokens)
            self._save(login, tokens)
        except DeadLogin as error:
            self._struck(login, error)
            return False
        except SsoMisconfigured as error:
            raise PermanentError(f"SSO refuses this application, no login was touched: {error}") from error
        except LoginChanged:
            logger.warning("the player logged in while the old login was refreshed; the new one stands")
            return False
        finally:
            self._end(login, flight)
        return True

    def _check_owner(self, login: Login, tokens: Tokens) -> None:
        if tokens.character_id != login.character_id:
            raise PermanentError(
                f"SSO answered for character {tokens.character_id} to a token of character {login.character_id}"
            )
        if login.owner_hash and tokens.owner_hash != login.owner_hash:
            # What comes from now on is another person's: it must not be mixed with what is kept.
            self._store.logins.require_login(login.character_id, login.version, reason="the character has a new owner")
            raise PermanentError(f"character {login.character_id} has a new owner, who must log in")

    def _save(self, login: Login, tokens: Tokens) -> None:
        """Save what SSO answered; the old refresh token may be dead already, so this is tried for a while."""
        deadline = time.monotonic() + SAVE_PATIENCE_SECONDS
        while True:
            try:
                self._store.logins.save_refreshed(
                    login.character_id,
                    login.version,
                    refresh_token=tokens.refresh_token,
                    access_token=tokens.access_token,
                    expires_at_ms=tokens.expires_at_ms,
                    scopes=tokens.scopes,
                )
                return
            except Unavailable:
                if time.monotonic() > deadline:
                    logger.error("a refreshed login could not be saved", character_id=login.character_id)
                    raise
                time.sleep(0.5)

    def _struck(self, login: Login, error: DeadLogin) -> None:
        """Count a strike, or condemn the login; return if neither counts, since another has changed it meanwhile."""
        now_ms = self._clock.now_ms()
        first_ms = login.first_strike_ms
        if first_ms is None or now_ms - first_ms < STRIKE_GAP_MS or self._many_die():
            if self._store.logins.strike(login.character_id, login.version):
                logger.warning("SSO called a login dead", character_id=login.character_id, strikes=login.strikes + 1)
                raise _in_doubt(login.character_id, _strike_pause_ms(login.strikes + 1)) from error
            return
        if self._store.logins.require_login(login.character_id, login.version, reason=str(error)):
            logger.warning("a login is dead, the player must log in", character_id=login.character_id)
            raise PermanentError(f"character {login.character_id} must log in again: {error}") from error

    def _many_die(self) -> bool:
        counts = self._store.logins.counts()
        dead = self._store.logins.count_needing_login_since(self._clock.now_ms() - _HOUR_MS)
        many = dead >= max(MASS_DEATH_COUNT, MASS_DEATH_SHARE * sum(counts.values()))
        if many:
            logger.error("many logins died within the hour: no more are condemned until it is over", dead=dead)
        return many

    def _end(self, login: Login, flight: str) -> None:
        try:
            self._store.logins.end_flight(login.character_id, flight=flight)
        except Unavailable:
            # It ends by itself after FLIGHT_SECONDS.
            logger.warning("a flight could not be ended", character_id=login.character_id)


def _strike_pause_ms(strikes: int) -> int:
    doubled_ms: int = STRIKE_PAUSE_MS * 2 ** min(max(strikes - 1, 0), 10)
    return min(doubled_ms, MAX_STRIKE_PAUSE_MS)


def _in_doubt(character_id: int, left_ms: int) -> LoginInDoubt:
    return LoginInDoubt(
        f"SSO called the login of character {character_id} dead, which is not believed yet; "
        f"it is asked again after {left_ms / 1000:.0f} s",
        retry_after_seconds=left_ms / 1000,
    )


def uninterrupted(function: Callable[[], T]) -> T:
    """Return what `function` returns, run by a thread that Dramatiq's time limit and shutdown do not reach.

    Who waits for it can be interrupted; what was begun is finished. Raises what `function` raises.
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
            # An interrupt reaches a thread only between two steps of Python, so the wait comes up for air.
            return future.result(timeout=0.5)
        except NotYet:
            if future.done():
                raise
