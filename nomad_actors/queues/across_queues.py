"""All queues at once: their snapshots, and their jobs in one list, page after page.

Failed jobs come with the last first, running ones with the longest first. Each queue gives a page of its own, and these
are merged by the instants that the lists are sorted by, then by the queues' names. A cursor names the last job seen and
its queue: every queue goes on at that instant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from ..broker.client.finder import BadCursor, cursor_beside, cursor_of_all, instant_of, split_cursor_of_all
from ..broker.client.steps import Steps
from ..broker.errors import WrongKeyType
from ..broker.states import State
from ..errors import BadInput
from ..logs import get_logger
from .job import Job
from .queue import Queue
from .registry import Queues
from .search import JobFilter, JobPage
from .snapshot import QueueSnapshot

logger = get_logger("nomad_actors.queues")

Found = TypeVar("Found")

#: A place in the merged list: the instant (turned round where the newest comes first), and the queue.
_Place = tuple[float, str]


@dataclass(frozen=True)
class _Entry:
    """A job of one queue's page, or with none the end of a page that goes on."""

    place: _Place
    cursor: str
    job: Job | None = None


def read_snapshots(queues: Queues, *, window_seconds: int = 0) -> list[QueueSnapshot]:
    """Return every queue's state, with the statistics of the last `window_seconds`, in one round trip.

    A queue that cannot be read is a snapshot with its problem. Raises `Unavailable` when Redis does not answer.
    """
    chosen = [queues.get_queue(name) for name in queues.names()]
    readings = [queue.reading_snapshot(window_seconds=window_seconds) for queue in chosen]
    found = queues.broker.read_together(readings)
    return [
        queue.as_snapshot(None, _unreadable(queue.name, read)) if isinstance(read, WrongKeyType) else read
        for queue, read in zip(chosen, found, strict=True)
    ]


def read_each(
    queues: Queues, reading: Callable[[Queue], Steps[Found]], *, names: Iterable[str] | None = None
) -> dict[str, Found]:
    """Return by queue what `reading` finds, read side by side; without the queues that cannot be read.

    Raises `Unavailable` when Redis does not answer, and what a reading raises.
    """
    chosen = list(queues.names() if names is None else names)
    found = queues.broker.read_together([reading(queues.get_queue(name)) for name in chosen])
    each: dict[str, Found] = {}
    for name, read in zip(chosen, found, strict=True):
        if isinstance(read, WrongKeyType):
            _unreadable(name, read)
        else:
            each[name] = read
    return each


def _unreadable(name: str, error: WrongKeyType) -> str:
    """Log that a queue is left out: health and doctor name it; return why."""
    logger.warning("a queue cannot be read and is left out", queue=name, error=str(error))
    return str(error)


def jobs_of_all(
    queues: Queues,
    state: State,
    *,
    outcomes: tuple[str, ...] = (),
    limit: int,
    cursor: str | None = None,
) -> JobPage:
    """Return a page of all queues' jobs that are `failed`, `completed` or `active`.

    Raises `BadInput` for a cursor or an outcome that is none, `Unavailable`.
    """
    job_filter = JobFilter(states=(state.value,), outcomes=outcomes)
    try:
        seen = None if cursor is None else split_cursor_of_all(cursor)
        pages = read_each(queues, lambda queue: _reading_entries(queue, job_filter, state, limit, seen))
        found = [each for page in pages.values() for each in page]
    except BadCursor as error:
        raise BadInput(f"cursor {cursor!r:.80} is unusable (accepted: a nextCursor of the same list)") from error
    found.sort(key=lambda each: each.place)
    # Beyond the end of a page that goes on its queue may have more to come between.
    last = next((n for n, each in enumerate(found) if each.job is None), len(found))
    shown = found[: min(limit, last)]
    if len(shown) == len(found):
        return JobPage([each.job for each in shown if each.job], None)
    end = shown[-1] if len(shown) == limit else found[last]
    return JobPage([each.job for each in shown if each.job], cursor_of_all(end.place[1], end.cursor))


def _reading_entries(
    queue: Queue, job_filter: JobFilter, state: State, limit: int, seen: tuple[str, str] | None
) -> Steps[list[_Entry]]:
    """Read one queue's part of a page, in its order."""
    sign = 1 if state is State.ACTIVE else -1
    own = None
    if seen is not None:
        of, own = seen
        if queue.name != of:
            own = cursor_beside(own, past=queue.name < of)
    page = yield from queue.reading_found(job_filter, limit=limit, cursor=own)
    entries = [
        _Entry((sign * instant_of(at), queue.name), at, job) for job, at in zip(page.jobs, page.cursors, strict=True)
    ]
    if page.next_cursor is not None:
        entries.append(_Entry((sign * instant_of(page.next_cursor), queue.name), page.next_cursor))
    return entries
