"""Finds a queue's jobs page by page: by state and time, by a term in any state, or by failure group.

A cursor names the last job seen instead of a count, so a job that moves meanwhile neither hides nor repeats another.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import BadInput
from .. import keys
from ..errors import BrokerError
from ..records import pack_id
from ..records.failures import FailureGroup
from ..records.failures import unpack as unpack_failure_group
from ..records.stored_job import StoredJob
from ..records.tags import TERM_BYTES
from ..states import FINISHED, State
from .link import Call, CallerLinks, Request
from .queue_view import QueueView
from .steps import Steps, ask

#: How many jobs one script reads.
STEP = 100
#: A page of more bytes ends early, because callers hold it in memory.
PAGE_BYTES = 8 * 1024 * 1024
#: How many jobs are scanned for one page if few of them match.
MAX_SCANNED = 2_000

_TIME_BYTES = 6
#: Sorts after every id: packed UUIDs have 16 bytes, other ids are text.
_BEYOND_IDS = b"\xff" * 17
_LATEST = b"\xff" * _TIME_BYTES
_LATEST_MS = int.from_bytes(_LATEST, "big")
#: A score as Redis writes it; Python's float() accepts more than Redis does.
_SCORE = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?")

Accepts = Callable[[StoredJob], bool]


class BadCursor(BrokerError, BadInput):
    """Raised for a cursor that does not come from a page."""

    def __init__(self, cursor: object) -> None:
        super().__init__(f"cursor {cursor!r:.80} is invalid (allowed: a nextCursor of the same list)")


@dataclass(frozen=True, slots=True)
class Found:
    """A page of jobs and the cursor of the next page (None after the last)."""

    jobs: Sequence[StoredJob]
    next_cursor: str | None
    #: For a list by state: the cursor after each of the jobs.
    cursors: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Position:
    """The job after which a list by state continues: index of the state, score (active: start time) and stored id."""

    at: int
    score: str = ""
    member: bytes = b""


@dataclass(frozen=True, slots=True)
class Span:
    """A period in ms since the epoch, both ends inclusive; None for an open end."""

    since_ms: float | None = None
    until_ms: float | None = None

    def contains(self, at_ms: float) -> bool:
        """Return True if an instant is within the period."""
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
        """Return jobs of some states, one state after another.

        `span` applies to the time when a waiting or active job was added, a delayed one is due, or an ended one ended.
        `of_failed` selects failed jobs: ``cancelled`` ones, those that ``failed`` otherwise, or all.
        """
        position = _unpack_position(cursor, states)
        found: list[tuple[StoredJob, _Position]] = []
        scanned, count, size = 0, min(STEP, limit + 1), 0
        # One more than is shown: only then there is a next page.
        while position.at < len(states) and len(found) <= limit and scanned < MAX_SCANNED and size < PAGE_BYTES:
            state = states[position.at]
            page, is_last, end = yield from self._page(state, span, count, position, of_failed)
            # The script may have skipped many.
            scanned += 0 if page else STEP
            for job, position in page:
                scanned += 1
                size += job.size
                in_time = state is not State.WAITING or span.contains(_added(job))
                if in_time and accepts(job):
                    found.append((job, position))
                    if len(found) > limit:
                        break
            if len(found) <= limit:
                position = _Position(position.at + 1) if is_last else end
            # Where few fit, more are read at once.
            count = STEP
        if len(found) > limit:
            position = found[limit - 1][1]
        jobs = [job for job, _ in found[:limit]]
        cursors = [_pack_position(at, states) for _, at in found[:limit]]
        return Found(jobs, None if position.at >= len(states) else _pack_position(position, states), cursors)

    def _running(self, position: _Position, span: Span) -> Steps[list[tuple[StoredJob, _Position]]]:
        """Return the active jobs after a position, the longest-running first."""
        shown = (float(position.score), position.member) if position.score else (float("-inf"), b"")
        running = yield from self._view.reading_jobs(State.ACTIVE, 0, -1)
        found = {(job.running_since_ms or 0.0, pack_id(job.job_id)): job for job in running}
        return [
            (found[at], _Position(position.at, repr(at[0]), at[1]))
            for at in sorted(found)
            if at > shown and span.contains(_added(found[at]))
        ]

    def _page(
        self, state: State, span: Span, count: int, position: _Position, of_failed: str
    ) -> Steps[tuple[list[tuple[StoredJob, _Position]], bool, _Position]]:
        """Return jobs of a state with their positions, True if they are its last, and the position after them."""
        if state is State.ACTIVE:
            return (yield from self._running(position, span)), True, position
        rev = "rev" if state in FINISHED else ""
        # The score of a waiting job is its position, not a time.
        in_time = span if state is not State.WAITING else Span()
        low, high = _bound(in_time.since_ms, "-inf"), _bound(in_time.until_ms, "+inf")
        chosen = of_failed if state is State.FAILED else ""
        arguments = (state.value, rev, count, position.score, position.member, low, high, chosen)
        more, score, last, *reply = yield from ask(Call("page", self._base, arguments))
        page = [
            (
                self._view.job(state, reply[i], reply[i + 2], b"", reply[i + 3]),
                _Position(position.at, reply[i + 1].decode(), reply[i]),
            )
            for i in range(0, len(reply), 4)
        ]
        return page, not more and len(page) < count, _Position(position.at, score.decode(), last) if last else position

    def by_term(
        self, term: bytes, states: Sequence[State], span: Span, accepts: Accepts, *, limit: int, cursor: str | None
    ) -> Steps[Found]:
        """Return the jobs that have a term and are in one of some states, newest first."""
        low = b"[" + term + _time_bytes(span.since_ms, b"")
        high = b"[" + term + _time_bytes(span.until_ms, _LATEST) + b"\xff"
        if cursor is not None:
            high = b"(" + _entry_of(cursor, term)
        found: list[tuple[StoredJob, bytes]] = []
        scanned, entry, count, size = 0, b"", min(STEP, limit + 1), 0
        # One more than is shown: only then there is a next page.
        while len(found) <= limit and scanned < MAX_SCANNED and size < PAGE_BYTES:
            more, *reply = yield from ask(Call("find_by_term", self._base, (high, low, count)))
            for i in range(0, len(reply), 5):
                entry, state, value, lease, stored_notes = reply[i : i + 5]
                scanned += 1
                size += len(value)
                if state and State(state.decode()) in states:
                    stored_id = entry[TERM_BYTES + _TIME_BYTES :]
                    job = self._view.job(State(state.decode()), stored_id, value, lease, stored_notes)
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
        """Return failure groups, the last seen first, and the cursor of the next page."""
        score, term = "", b""
        if cursor is not None:
            score, packed = _unpack_cursor(cursor, "f", 2)
            term = _bytes(packed)
            if not _is_score(score):
                raise BadCursor(cursor)
        (reply,) = self._links.run([Call("failure_groups", self._base, (limit + 1, score, term))])
        found = [
            unpack_failure_group(reply[i], reply[i + 2], int(reply[i + 3]))
            for i in range(0, min(len(reply), 4 * limit), 4)
            if reply[i + 2]
        ]
        if len(reply) <= 4 * limit:
            return found, None
        last = 4 * (limit - 1)
        return found, _pack_cursor("f", reply[last + 1].decode(), _text(reply[last]))

    def count_call(self, term: bytes) -> Request:
        """Return the call whose reply is the number of jobs with a term, in any state."""
        return ("ZLEXCOUNT", keys.TERMS.of(self._base), b"[" + term, b"(" + term + b"\xff")


def _added(job: StoredJob) -> float:
    return job.record.header.created_ms if job.record else 0.0


def _bound(at_ms: float | None, otherwise: str) -> str:
    return otherwise if at_ms is None else repr(float(at_ms))


def _time_bytes(at_ms: float | None, otherwise: bytes) -> bytes:
    return otherwise if at_ms is None else int(min(max(at_ms, 0), _LATEST_MS)).to_bytes(_TIME_BYTES, "big")


# Cursors are opaque to users; the first letter tells the kinds of lists apart. What reads one raises `BadCursor`.


def cursor_of_all(queue: str, cursor: str) -> str:
    """Return the cursor of a list over all queues, made of a queue's name and the cursor of that queue's own list."""
    return _pack_cursor("a", queue, cursor)


def split_cursor_of_all(cursor: str) -> tuple[str, str]:
    """Split a cursor over all queues into a queue's name and the cursor of its own list."""
    queue, own = _unpack_cursor(cursor, "a", 2)
    if not isinstance(queue, str) or not isinstance(own, str):
        raise BadCursor(cursor)
    return queue, own


def instant_of(cursor: str) -> float:
    """Return the time by which lists of ended or active jobs are sorted, of the job that a cursor names."""
    _, score, _ = _unpack_cursor(cursor, "s", 3)
    if not _is_score(score):
        raise BadCursor(cursor)
    return float(score)


def cursor_beside(cursor: str, *, past: bool) -> str:
    """Return the cursor at the same instant, or `past` it, for another queue's list of the same state."""
    state, score, _ = _unpack_cursor(cursor, "s", 3)
    # Active jobs are sorted by ascending id, ended ones by descending id.
    first = past is (state == State.ACTIVE.value)
    return _pack_cursor("s", state, score, _text(_BEYOND_IDS if first else b""))


def _pack_position(position: _Position, states: Sequence[State]) -> str:
    return _pack_cursor("s", states[position.at].value, position.score, _text(position.member))


def _pack_cursor(kind: str, *fields: int | str) -> str:
    return _text(json.dumps([kind, *fields], separators=(",", ":")).encode())


def _unpack_cursor(cursor: str, kind: str, count: int) -> list[Any]:
    try:
        fields = json.loads(_bytes(cursor))
    except (ValueError, RecursionError) as error:
        raise BadCursor(cursor) from error
    if not isinstance(fields, list) or len(fields) != count + 1 or fields[0] != kind:
        raise BadCursor(cursor)
    return fields[1:]


def _unpack_position(cursor: str | None, states: Sequence[State]) -> _Position:
    if cursor is None:
        return _Position(0)
    state, score, member = _unpack_cursor(cursor, "s", 3)
    if state not in states or not (score == "" or _is_score(score)):
        raise BadCursor(cursor)
    return _Position(states.index(state), score, _bytes(member))


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
