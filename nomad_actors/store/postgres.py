"""PostgreSQL connections that wait for an answer only so long.

PostgreSQL's own time limits are the server's: a server that is frozen, and a host that is gone, keep none. So each
connection also gives up by itself; it is closed then, for whatever the server still says belongs to nobody.
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

#: How long one answer may take where nobody waits: no statement of ours comes near it.
ANSWER_SECONDS = 60.0
#: Finds a host that is gone after half a minute, whoever waits for how long.
KEEPALIVES = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_LOOK_SECONDS = 0.1

#: When everything that this thread asks must be answered (monotonic), and how long one answer may take.
_deadline_mono: ContextVar[float] = ContextVar("nomad_postgres_deadline", default=float("inf"))
_answer_seconds: ContextVar[float | None] = ContextVar("nomad_postgres_answer", default=None)


@contextmanager
def answered_within(total_seconds: float = float("inf"), each_seconds: float | None = None) -> Iterator[None]:
    """Let what is asked inside be answered within `total_seconds` in all, and each single answer within a time."""
    deadline = _deadline_mono.set(min(_deadline_mono.get(), time.monotonic() + total_seconds))
    answer = _answer_seconds.set(each_seconds)
    try:
        yield
    finally:
        _answer_seconds.reset(answer)
        _deadline_mono.reset(deadline)


def connect_options(given: Mapping[str, str | tuple[str, ...]], wait_ms: int | None) -> dict[str, str | int]:
    """Return what a connection is opened with, beside what the URL gives; `wait_ms` is how long somebody waits."""
    options: dict[str, str | int] = {name: value for name, value in KEEPALIVES.items() if name not in given}
    if wait_ms is not None:
        # The server's limits come first: it then says what took so long, and the connection stays good.
        least_ms = max(1, wait_ms * 2 // 3)
        limits = f"-c statement_timeout={least_ms} -c lock_timeout={least_ms}"
        own = given.get("options", "")
        options["options"] = f"{own if isinstance(own, str) else ' '.join(own)} {limits}".strip()
    return options


class Connection(psycopg.Connection[Any]):
    """A connection that raises `ConnectionTimeout`, and is closed, when an answer does not come in time."""

    def wait(self, gen: PQGen[Result], interval: float = _LOOK_SECONDS, timeout: float | None = None) -> Result:
        """Wait for an answer."""
        try:
            return super().wait(gen, interval, _left() if timeout is None else min(timeout, _left()))
        except _WaitTimeout as error:
            self.pgconn.finish()
            raise _no_answer() from error

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Any]:
        # libpq's own time limit is whole seconds, two at least.
        steps, until_mono = super()._connect_gen(conninfo), time.monotonic() + _left()
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if time.monotonic() >= until_mono:
                    raise _no_answer()
                wanted = steps.send(ready)
        except StopIteration as end:
            return end.value


def _left() -> float:
    each_seconds = _answer_seconds.get()
    left = min(ANSWER_SECONDS if each_seconds is None else each_seconds, _deadline_mono.get() - time.monotonic())
    return max(0.0, left)


def _no_answer() -> ConnectionTimeout:
    return ConnectionTimeout("it gave no answer in time")
