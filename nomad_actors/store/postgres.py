"""PostgreSQL connections with client-side time limits.

PostgreSQL enforces its own time limits on the server: they do not help if the server is frozen or its host is gone. So
each connection also has a limit on the client; when it expires, the connection is closed, because a late response would
be mistaken for that of a later query.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen, PQGenConn
from psycopg.errors import ConnectionTimeout, _WaitTimeout

Result = TypeVar("Result")

#: The limit for one response if no user is waiting; all our statements are much faster.
ANSWER_SECONDS = 60.0
#: Detects a host that is gone after half a minute, in any case.
KEEPALIVES = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_POLL_SECONDS = 0.1

#: The deadline for all queries of this thread (monotonic), and the limit for one response.
_deadline_mono: ContextVar[float] = ContextVar("nomad_postgres_deadline", default=float("inf"))
_answer_seconds: ContextVar[float | None] = ContextVar("nomad_postgres_answer", default=None)


@contextmanager
def answered_within(total_seconds: float = float("inf"), each_seconds: float | None = None) -> Iterator[None]:
    """Limit the time of all queries inside to `total_seconds`, and of each response to `each_seconds`."""
    deadline = _deadline_mono.set(min(_deadline_mono.get(), time.monotonic() + total_seconds))
    each = _answer_seconds.set(each_seconds)
    try:
        yield
    finally:
        _answer_seconds.reset(each)
        _deadline_mono.reset(deadline)


def connect_options(given: Mapping[str, str | tuple[str, ...]]) -> dict[str, int | None]:
    """Return the connection options in addition to those of the URL.

    Nothing in them belongs to a session of the server: behind PgBouncer each transaction may use another one.
    """
    options: dict[str, int | None] = {name: value for name, value in KEEPALIVES.items() if name not in given}
    return options | {"prepare_threshold": None}


def time_limits(wait_ms: int) -> str:
    """Return the SQL that limits the time of each statement of a transaction, for a user who waits `wait_ms`."""
    # Less than the limit of the client: the server's error says what took so long, and the connection stays usable.
    server_ms = max(1, wait_ms * 2 // 3)
    return f"SET LOCAL statement_timeout = {server_ms}; SET LOCAL lock_timeout = {server_ms}"


class Connection(psycopg.Connection[Any]):
    """A connection that raises `ConnectionTimeout` and is closed if a response does not arrive in time."""

    def wait(self, gen: PQGen[Result], interval: float = _POLL_SECONDS, timeout: float | None = None) -> Result:
        try:
            return super().wait(gen, interval, _left() if timeout is None else min(timeout, _left()))
        except _WaitTimeout as error:
            self.pgconn.finish()
            raise _no_answer() from error

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Any]:
        # libpq's own time limit is in whole seconds, at least two.
        steps, until_mono = super()._connect_gen(conninfo), time.monotonic() + _left()
        try:
            awaited = next(steps)
            while True:
                ready = yield awaited
                if time.monotonic() >= until_mono:
                    raise _no_answer()
                awaited = steps.send(ready)
        except StopIteration as end:
            return end.value


def _left() -> float:
    each_seconds = _answer_seconds.get()
    left = min(ANSWER_SECONDS if each_seconds is None else each_seconds, _deadline_mono.get() - time.monotonic())
    return max(0.0, left)


def _no_answer() -> ConnectionTimeout:
    return ConnectionTimeout("no response in time")
