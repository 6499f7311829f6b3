"""Connections that run scripts, and repeat them if a reply is lost.

redis-py silently repeats a command after an error (10 times since its version 6). That is turned off here: we repeat
commands ourselves, because our scripts recognise a repeated call.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    DataError,
    MaxConnectionsError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from ...logs.foreign_text import class_name, safe_str
from ..errors import BrokerError, RedisUnavailable, Refusal, ScriptFailed, WrongKeyType
from ..scripts import scripts
from .pools import own_pool

#: The errors of a Redis that is restarted, failed over, full or cut off.
LINK_ERRORS = (redis.RedisError, OSError)

#: The codes of a Redis that refuses commands now: full, a replica, unable to write to disk. redis-py has classes for
#: some; before Redis 7 a script's error has the code somewhere in its text.
_NOT_NOW = re.compile(
    r"\b(OOM|READONLY|MISCONF|NOREPLICAS|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOPERM|LOADING"
    r"|DB index is out of range)\b"
)

_REFUSALS = (
    (AuthenticationError, Refusal.PASSWORD),
    (OutOfMemoryError, Refusal.FULL),
    (ReadOnlyError, Refusal.REPLICA),
    (BusyLoadingError, Refusal.LOADING),
    (NoPermissionError, Refusal.PERMISSION),
)
_CODES = {
    "OOM": Refusal.FULL,
    "READONLY": Refusal.REPLICA,
    "MISCONF": Refusal.DISK,
    "LOADING": Refusal.LOADING,
    "NOPERM": Refusal.PERMISSION,
    "DB index is out of range": Refusal.DATABASE,
}
#: Errors without a code: commands that a user may not run inside a script, and missing commands.
_SENTENCES = (
    (re.compile(r"ACL failure|no permissions|can't (?:run this command|access at least one)"), Refusal.PERMISSION),
    (re.compile(r"unknown (?:redis )?command", re.IGNORECASE), Refusal.COMMAND),
)

#: How often a caller's command is tried before it raises `RedisUnavailable`.
CALLER_TRIES = 4
#: The share of the deadline that one try may take.
TRY_SHARE = 0.45


class PoolExhausted(BrokerError, redis.ConnectionError):
    """Raised when all connections of the application's pool are in use."""


@dataclass(frozen=True, slots=True)
class Call:
    """One script to run on one queue."""

    script: str
    base: str
    arguments: Sequence[bytes | str | int | float] = ()


#: A script or a plain command.
Request = Call | Sequence[Any]


class Link:
    """One connection, for one thread at a time; it is opened when needed, also after an error.

    `known` has the names of the scripts that Redis has cached; the links of one pool share it.
    """

    def __init__(self, pool: redis.ConnectionPool, known: set[str] | None = None) -> None:
        self._pool = pool
        self._connection: Any = None
        self._known = set() if known is None else known

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._pool.release(connection)

    def hand_back(self) -> None:
        """Return a healthy connection to the pool."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release(connection)

    def commands(self, commands: Sequence[Sequence[Any]], meanwhile: Callable[[], None] = lambda: None) -> list[Any]:
        """Send plain commands together and return their replies, which may be errors.

        `meanwhile` is called while Redis works on them. Raises one of `LINK_ERRORS` if the connection fails; some
        commands may have been executed by then.
        """
        try:
            if self._connection is None:
                self._connection = self._connect()
            connection = self._connection
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            meanwhile()
            return [self._reply(connection) for _ in commands]
        except BaseException:
            # Also if a time limit interrupts this: an unread reply must not answer the next command.
            self.close()
            # The next connection may lead to a Redis that was restarted.
            self._known.clear()
            raise

    def _connect(self) -> Any:
        try:
            return self._pool.get_connection()
        except LINK_ERRORS as error:
            if isinstance(error, MaxConnectionsError) or str(error) == "No connection available.":
                most = self._pool.max_connections
                raise PoolExhausted(f"all {most} connections of the pool are in use (max_connections)") from error
            raise
        except BaseException as error:
            # Raised by the application's connection class or credential provider. redis-py has returned the connection
            # to the pool, and would use it again although it is not logged in.
            self._pool.disconnect(inuse_connections=False)
            if not isinstance(error, Exception):
                raise
            raise redis.ConnectionError(f"cannot connect: {describe(error)}") from error

    @staticmethod
    def _reply(connection: Any) -> Any:
        try:
            return connection.read_response()
        except ResponseError as error:
            return error

    def run(self, calls: Sequence[Request], meanwhile: Callable[[], None] = lambda: None) -> list[Any]:
        """Run scripts and plain commands together in their order, as `commands` does."""
        replies = self.commands([self._command(call) for call in calls], meanwhile)
        self._known.update(call.script for call in calls if isinstance(call, Call))
        unknown = next((i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)), None)
        if unknown is not None:
            # Redis' script cache was emptied. The calls after the failed one ran too early: run all of them again.
            self._known.clear()
            replies[unknown:] = self.commands([self._command(call) for call in calls[unknown:]])
        return replies

    def _command(self, call: Request) -> Sequence[Any]:
        """Return the command that runs a script, with its text if Redis may not have it cached.

        If only the digest was sent and refused, the calls after it would run first.
        """
        if not isinstance(call, Call):
            return call
        script = scripts()[call.script]
        if call.script in self._known:
            return (b"EVALSHA", script.sha, b"1", call.base, *call.arguments)
        return (b"EVAL", script.source, b"1", call.base, *call.arguments)


class CallerLinks:
    """Runs commands for callers' threads: a connection each while they need it, a few tries, a clear error.

    With `deadline_seconds` a command fails after that time, if Redis is gone or does not reply. Two tries fit into it,
    because the first fails if the connection was lost without notice.

    What runs commands raises `RedisUnavailable` with the cause, or `ScriptFailed` if it is not an outage.
    """

    def __init__(self, pool: redis.ConnectionPool, deadline_seconds: float = float("inf")) -> None:
        self._deadline_seconds = deadline_seconds
        self._try_seconds = 0.0
        self._pool = pool
        self._known: set[str] = set()
        self._of_thread = threading.local()
        if deadline_seconds < float("inf"):
            seconds = self._try_seconds = deadline_seconds * TRY_SHARE
            self._pool = own_pool(pool, wait_seconds=seconds, socket_timeout=seconds, socket_connect_timeout=seconds)

    def close(self) -> None:
        self._pool.disconnect()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Limit all commands of this thread inside the `with` to `seconds` in all; a started try is not interrupted.

        Later commands raise `RedisUnavailable`.
        """
        before = getattr(self._of_thread, "until_mono", float("inf"))
        self._of_thread.until_mono = min(before, time.monotonic() + seconds)
        self._of_thread.seconds = seconds
        try:
            yield
        finally:
            self._of_thread.until_mono = before

    def run(self, calls: Sequence[Request]) -> list[Any]:
        """Run scripts and plain commands that may be sent twice, with repeats after failures; return their replies."""
        return self._tried(calls)

    def run_each(self, calls: Sequence[Request]) -> list[Any]:
        """Run calls as `run` does; a call on a key of a wrong type has that error as its reply."""
        replies = self._tried(calls, kept=_is_wrong_type)
        return [_wrong_type(reply) if isinstance(reply, ResponseError) else reply for reply in replies]

    def attempt(self, calls: Sequence[Request]) -> list[Any]:
        """Run calls as `run` does; a call that Redis refuses has the error as its reply."""
        return self._tried(calls, kept=lambda _: True)

    def read(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send plain commands that read, and return their replies; a key of an unexpected type is read as empty."""
        return [[] if isinstance(reply, WrongKeyType) else reply for reply in self.run_each(commands)]

    def _tried(self, calls: Sequence[Request], *, kept: Callable[[ResponseError], bool] = lambda _: False) -> list[Any]:
        began = time.monotonic()
        until_mono = getattr(self._of_thread, "until_mono", float("inf"))
        for tried in range(1, CALLER_TRIES + 1):
            if time.monotonic() >= until_mono:
                raise RedisUnavailable(f"Redis is too slow: {self._of_thread.seconds:g} s are over")
            try:
                return self._once(calls, kept)
            except LINK_ERRORS as error:
                if _is_wrong_type(error):
                    raise _wrong_type(error) from error
                if _is_ours(error):
                    raise ScriptFailed(describe(error)) from error
                wait_seconds = backoff_seconds(tried)
                if isinstance(error, PoolExhausted) and isinstance(self._pool, redis.BlockingConnectionPool):
                    # The pool has already waited for its whole timeout.
                    raise unavailable(error) from error
                next_ends_seconds = time.monotonic() - began + wait_seconds + self._try_seconds
                if tried == CALLER_TRIES or next_ends_seconds > self._deadline_seconds:
                    raise unavailable(error) from error
                time.sleep(wait_seconds)
        raise AssertionError("unreachable")

    def _once(self, calls: Sequence[Request], kept: Callable[[ResponseError], bool]) -> list[Any]:
        link = Link(self._pool, self._known)
        try:
            replies = link.run(calls)
        finally:
            link.hand_back()
        for reply in replies:
            if isinstance(reply, ResponseError) and not kept(reply):
                raise reply
        return replies


def _is_wrong_type(error: BaseException) -> bool:
    return "WRONGTYPE" in str(error)


def _wrong_type(error: BaseException) -> WrongKeyType:
    return WrongKeyType(f"a key in Redis has a wrong type; see nomad doctor ({describe(error)})")


def _is_ours(error: BaseException) -> bool:
    """Return True if Redis is available and a repeat would fail the same way."""
    if isinstance(error, DataError):
        return True
    return type(error) is ResponseError and _NOT_NOW.search(str(error)) is None and _refusal(error) is None


def unavailable(error: BaseException) -> RedisUnavailable:
    """Return the error for callers, with Redis' reason if it gave one."""
    refusal = _refusal(error)
    why = describe(error) if refusal is None else f"{refusal} ({describe(error)})"
    return RedisUnavailable(f"Redis did not take the command: {why}", refusal)


def _refusal(error: BaseException) -> Refusal | None:
    """Return why Redis refuses commands, by redis-py's class or else by the code; None if it gave no known reason."""
    by_class = (refusal for kind, refusal in _REFUSALS if isinstance(error, kind))
    return next(by_class, None) or refusal_of(str(error))


def refusal_of(text: str) -> Refusal | None:
    """Return why Redis refuses commands, by the text of its error; None if the text has no known reason."""
    if word := _NOT_NOW.search(text):
        return _CODES.get(word[1])
    return next((refusal for sentence, refusal in _SENTENCES if sentence.search(text)), None)


def describe(error: BaseException) -> str:
    """Return an error's class and message, for use in a sentence."""
    return f"{class_name(error)}: {safe_str(error)}"


def backoff_seconds(tried: int) -> float:
    """Return how long to wait after `tried` failures: 50 ms, doubled up to 2 s, times a random 0.5 to 1."""
    doubled: float = 0.05 * 2 ** min(tried - 1, 10)
    return min(2.0, doubled) * random.uniform(0.5, 1.0)
