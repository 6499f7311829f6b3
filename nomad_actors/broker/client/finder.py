"""Finds a queue's jobs: by state and time, by a term in whatever state, by why they failed; page after page.

A cursor names the last job seen, not how many were: what moves meanwhile neither hides nor repeats another.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import keys
from ..errors import BrokerError
from ..records import pack_id
from ..records.failures import FailureGroup
from ..records.failures import unpack as unpack_fault
from ..records.stored_job import StoredJob
from ..records.tags import TERM_BYTES
from ..states import FINISHED, State
from .link import Call, CallerLinks, Request
from .queue_view import QueueView
from .steps import Steps, ask

#: How many jobs one script reads.
STEP = 100
#: A page whose jobs are longer than this together ends early: callers hold it in memory.
PAGE_BYTES = 8 * 1024 * 1024
#: How many are looked at for one page, when few of them fit.
MOST_LOOKED_AT = 2_000

_TIME_BYTES = 6
#: No id is that: those of our own making are 16 bytes, others are text.
_BEYOND_IDS = b"\xff" * 17
_LATEST = b"\xff" * _TIME_BYTES
#: A score as Redis writes it; Python's float() takes more, which Redis refuses.
_SCORE = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?")

Accepts = Callable[[StoredJob], bool]


class BadCursor(BrokerError, ValueError):
    """Raised for a cursor that no page gave."""


@dataclass(frozen=True, slots=True)
class Found:
    """Some jobs, and where the next page goes on (None after the last)."""

    jobs: Sequence[StoredJob]
    next_cursor: str | None
    #: Of a list of one state after another: where it would go on after each of the jobs.
    cursors: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """After which job a list of states goes on: which state, and there its score (of running ones: since when)."""

    at: int
    score: str = ""
    member: bytes = b""


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when, ms since the epoch, both inclusive; None for open."""

    since_ms: float | None = None
    until_ms: float | None = None

    def holds(self, at_ms: float) -> bool:
        """Return whether an instant is within it."""
        return (self.since_ms is None or at_ms >= self.since_ms) and (self.until_ms is None or at_ms <= self.until_ms)


class Finder:
    """Finds jobs of one queue.

    Readings are made by `JobBroker.read`; every method raises `BadCursor` for an invalid cursor.
    """

    def __init__(self, links: CallerLinks, base: str, view: QueueView) -> None:
        self._links = links
        self._base = base
        self._view = view

    def by_state(
        self,
        states: Sequence[State],
        span: Span,
        accepts: Accepts,
        *,
        limit: int,
        cursor: str | None,
        of_failed: str = "",
    ) -> Steps[Found]:
        """Return jobs of some states one after another; those that wait or run are within `span` by their adding.

        Ended ones are by their end, delayed ones by when they are due. `of_failed` chooses among failed ones: those
        that were ``cancelled``, those that ``failed`` otherwise, or all.
        """
        place = _state_place(cursor, states)
        found: list[tuple[StoredJob, _Place]] = []
        looked_at, count, size = 0, min(STEP, limit + 1), 0
        # One more than is shown: only then there is a next page.
        while place.at < len(states) and len(found) <= limit and looked_at < MOST_LOOKED_AT and size < PAGE_BYTES:
            state = states[place.at]
            page, is_last, end = yield from self._page(state, span, count, place, of_failed)
            # Many may have been passed over.
            looked_at += 0 if page else STEP
            for job, place in page:
                looked_at += 1
                size += job.size
                in_time = state is not State.WAITING or span.holds(_added(job))
                if in_time and accepts(job):
                    found.append((job, place))
                    if len(found) > limit:
                        break
            if len(found) <= limit:
                place = _Place(place.at + 1) if is_last else end
            # Where few fit, more are read at once.
            count = STEP
        if len(found) > limit:
            place = found[limit - 1][1]
        jobs = [job for job, _ in found[:limit]]
        cursors = [_pack_place(at, states) for _, at in found[:limit]]
        return Found(jobs, None if place.at >= len(states) else _pack_place(place, states), cursors)

    def _running(self, place: _Place, span: Span) -> Steps[list[tuple[StoredJob, _Place]]]:
        """Return what runs and is not shown yet, the longest first."""
        shown = (float(place.score), place.member) if place.score else (float("-inf"), b"")
        running = yield from self._view.reading_jobs(State.ACTIVE, 0, -1)
        found = {(job.running_since_ms or 0.0, pack_id(job.job_id)): job for job in running}
        return [
            (found[at], _Place(place.at, repr(at[0]), at[1]))
            for at in sorted(found)
            if at > shown and span.holds(_added(found[at]))
        ]

    def _page(
        self, state: State, span: Span, count: int, place: _Place, of_failed: str
    ) -> Steps[tuple[list[tuple[StoredJob, _Place]], bool, _Place]]:
        """Return some jobs of a state, each with its place, whether they are its last, and the place after them."""
        if state is State.ACTIVE:
            return (yield from self._running(place, span)), True, place
        rev = "rev" if state in FINISHED else ""
        # The score of a waiting job is its place, not a time.
        in_time = span if state is not State.WAITING else Span()
        low, high = _bound(in_time.since_ms, "-inf"), _bound(in_time.until_ms, "+inf")
        chosen = of_failed if state is State.FAILED else ""
        arguments = (state.value, rev, count, place.score, place.member, low, high, chosen)
        more, score, last, *reply = yield from ask(Call("page", self._base, arguments))
        page = [
            (
                self._view.job(state, reply[i], reply[i + 2], b"", reply[i + 3]),
                _Place(place.at, reply[i + 1].decode(), reply[i]),
            )
            for i in range(0, len(reply), 4)
        ]
        return page, not more and len(page) < count, _Place(place.at, score.decode(), last) if last else place

    def by_term(
        self, term: bytes, states: Sequence[State], span: Span, accepts: Accepts, *, limit: int, cursor: str | None
    ) -> Steps[Found]:
        """Return the jobs that have a term and are in one of some states, newest first."""
        low = b"[" + term + _time_bytes(span.since_ms, b"")
        high = b"[" + term + _time_bytes(span.until_ms, _LATEST) + b"\xff"
        if cursor is not None:
            high = b"(" + _entry_of(cursor, term)
        found: list[tuple[StoredJob, bytes]] = []
        looked_at, entry, count, size = 0, b"", min(STEP, limit + 1), 0
        # One more than is shown: only then there is a next page.
        while len(found) <= limit and looked_at < MOST_LOOKED_AT and size < PAGE_BYTES:
            more, *reply = yield from ask(Call("find_by_term", self._base, (high, low, count)))
            for i in range(0, len(reply), 5):
                entry, state, value, lease, told = reply[i : i + 5]
                looked_at += 1
                size += len(value)
                if state and State(state.decode()) in states:
                    stored_id = entry[TERM_BYTES + _TIME_BYTES :]
                    job = self._view.job(State(state.decode()), stored_id, value, lease, told)
                    if accepts(job):
                        found.append((job, entry))
                        if len(found) > limit:
                            break
            if len(found) <= limit and not more and len(reply) < 5 * count:
                return Found([job for job, _ in found], None)
            # Where few fit, more are read at once.
            count = STEP
            high = b"(" + entry
        if len(found) > limit:
            entry = found[limit - 1][1]
        return Found([job for job, _ in found[:limit]], _pack_cursor("t", _text(entry)))

    def failure_groups(self, *, limit: int, cursor: str | None) -> tuple[list[FailureGroup], str | None]:
        """Return why jobs failed, the fault seen last first, and where the next page goes on."""
        score, term = "", b""
        if cursor is not None:
            score, packed = _unpack_cursor(cursor, "f", 2)
            term = _bytes(packed)
            if not _is_score(score):
                raise BadCursor(cursor)
        reply = self._run("failure_groups", limit + 1, score, term)
        found = [
            unpack_fault(reply[i], reply[i + 2], int(reply[i + 3]))
            for i in range(0, min(len(reply), 4 * limit), 4)
            if reply[i + 2]
        ]
        if len(reply) <= 4 * limit:
            return found, None
        last = 4 * (limit - 1)
        return found, _pack_cursor("f", reply[last + 1].decode(), _text(reply[last]))

    def count_call(self, term: bytes) -> Request:
        """Return the call whose reply is how many jobs have a term, in whatever state."""
        return ("ZLEXCOUNT", keys.TERMS.of(self._base), b"[" + term, b"(" + term + b"\xff")

    def _run(self, script: str, *arguments: Any) -> Any:
        return self._links.run([Call(script, self._base, arguments)])[0]


def _added(job: StoredJob) -> float:
    return job.record.header.created_ms if job.record else 0.0


def _bound(at_ms: float | None, otherwise: str) -> str:
    return otherwise if at_ms is None else repr(float(at_ms))


def _time_bytes(at_ms: float | None, otherwise: bytes) -> bytes:
    return otherwise if at_ms is None else max(0, int(at_ms)).to_bytes(_TIME_BYTES, "big")


# Cursors are opaque to their users; the letter keeps one kind of list's from being taken for another's.


def cursor_of_all(queue: str, cursor: str) -> str:
    """Return where a list over all queues goes on: after a job of one queue, by the cursor of that queue's own list."""
    return _pack_cursor("a", queue, cursor)


def split_cursor_of_all(cursor: str) -> tuple[str, str]:
    """Return of which queue a cursor over all queues names a job, and the cursor of that queue's own list.

    Raises `BadCursor`.
    """
    queue, own = _unpack_cursor(cursor, "a", 2)
    if not isinstance(queue, str) or not isinstance(own, str):
        raise BadCursor(cursor)
    return queue, own


def instant_of(cursor: str) -> float:
    """Return the instant by which a list of ended or running jobs is sorted, of the job that a cursor names.

    Raises `BadCursor`.
    """
    _, score, _ = _unpack_cursor(cursor, "s", 3)
    if not _is_score(score):
        raise BadCursor(cursor)
    return float(score)


def cursor_beside(cursor: str, *, past: bool) -> str:
    """Return where another queue's list of the same state goes on at the same instant: with what has it, or `past` it.

    Raises `BadCursor`.
    """
    state, score, _ = _unpack_cursor(cursor, "s", 3)
    # Running jobs are sorted upwards by their ids, ended ones downwards.
    first = past is (state == State.ACTIVE.value)
    return _pack_cursor("s", state, score, _text(_BEYOND_IDS if first else b""))


def _pack_place(place: _Place, states: Sequence[State]) -> str:
    return _pack_cursor("s", states[place.at].value, place.score, _text(place.member))


def _pack_cursor(kind: str, *parts: int | str) -> str:
    return _text(json.dumps([kind, *parts], separators=(",", ":")).encode())


def _unpack_cursor(cursor: str, kind: str, count: int) -> list[Any]:
    try:
        told = json.loads(_bytes(cursor))
    except (ValueError, RecursionError) as error:
        raise BadCursor(cursor) from error
    if not isinstance(told, list) or len(told) != count + 1 or told[0] != kind:
        raise BadCursor(cursor)
    return told[1:]


def _state_place(cursor: str | None, states: Sequence[State]) -> _Place:
    if cursor is None:
        return _Place(0)
    state, score, member = _unpack_cursor(cursor, "s", 3)
    if state not in states or not (score == "" or _is_score(score)):
        raise BadCursor(cursor)
    return _Place(states.index(state), score, _bytes(member))


def _is_score(text: object) -> bool:
    return isinstance(text, str) and _SCORE.fullmatch(text) is not None


def _entry_of(cursor: str, term: bytes) -> bytes:
    entry = _bytes(_unpack_cursor(cursor, "t", 1)[0])
    if not entry.startswith(term):
        raise BadCursor(cursor)
    return entry


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: object) -> bytes:
    if not isinstance(text, str) or not text.isascii():
        raise BadCursor(text)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise BadCursor(text) from error
