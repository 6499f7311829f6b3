"""All queues together: their snapshots, and their jobs in one list, page by page.

Failed jobs are listed last failed first, running ones longest-running first. A page of each queue is read, and these
pages are merged by the instants that the lists are sorted by, then by queue name. A cursor names the last job shown and
its queue: every queue continues at that instant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from ..broker.client.finder import cursor_beside, cursor_of_all, instant_of, split_cursor_of_all
from ..broker.client.steps import Steps
from ..broker.errors import WrongKeyType
from ..broker.states import State
from ..logs import get_logger
from .job import Job
from .queue import Queue
from .registry import Queues
from .search import JobFilter, JobPage
from .snapshot import QueueSnapshot

logger = get_logger("nomad_actors.queues")

Found = TypeVar("Found")


@dataclass(frozen=True)
class _Entry:
    """A job of one queue's page; without a job, the end of a page that has a next one."""

    #: The instant (negative if the newest comes first), then the queue.
    sort_key: tuple[float, str]
    cursor: str
    job: Job | None = None


def read_snapshots(queues: Queues, *, window_seconds: int = 0) -> list[QueueSnapshot]:
    """Return every queue's state, with the statistics of the last `window_seconds`, in one round trip.

    The snapshot of a queue that cannot be read has a `problem`. Raises `Unavailable` if Redis does not respond.
    """
    found = _read(queues, queues.names(), lambda queue: queue.reading_snapshot(window_seconds=window_seconds))
    return [queue.as_snapshot(None, str(read)) if isinstance(read, WrongKeyType) else read for queue, read in found]


def read_each(
    queues: Queues, reading: Callable[[Queue], Steps[Found]], *, names: Iterable[str] | None = None
) -> dict[str, Found]:
    """Return the result of `reading` by queue, in shared round trips; queues that cannot be read are left out.

    Raises `Unavailable` if Redis does not respond, and what `reading` raises.
    """
    found = _read(queues, queues.names() if names is None else names, reading)
    return {queue.name: read for queue, read in found if not isinstance(read, WrongKeyType)}


def _read(
    queues: Queues, names: Iterable[str], reading: Callable[[Queue], Steps[Found]]
) -> list[tuple[Queue, Found | WrongKeyType]]:
    chosen = [queues.get_queue(name) for name in names]
    found = list(zip(chosen, queues.broker.read_together([reading(queue) for queue in chosen]), strict=True))
    for queue, read in found:
        if isinstance(read, WrongKeyType):
            # Health and doctor report it too.
            logger.warning("a queue cannot be read and is left out", queue=queue.name, error=str(read))
    return found


def jobs_of_all(
    queues: Queues,
    state: State,
    *,
    outcomes: tuple[str, ...] = (),
    limit: int,
    cursor: str | None = None,
) -> JobPage:
    """Return a page of all queues' jobs that are `failed`, `completed` or `active`.

    Raises `BadInput` for an invalid cursor or outcome, and `Unavailable`.
    """
    job_filter = JobFilter(states=(state.value,), outcomes=outcomes)
    seen = None if cursor is None else split_cursor_of_all(cursor)
    pages = read_each(queues, lambda queue: _reading_entries(queue, job_filter, state, limit, seen))
    found = sorted((each for page in pages.values() for each in page), key=lambda each: each.sort_key)
    # After the end of a page with a next one, that queue may have jobs that belong in between.
    last = next((n for n, each in enumerate(found) if each.job is None), len(found))
    shown = found[: min(limit, last)]
    if len(shown) == len(found):
        return JobPage([each.job for each in shown if each.job], None)
    end = shown[-1] if len(shown) == limit else found[last]
    return JobPage([each.job for each in shown if each.job], cursor_of_all(end.sort_key[1], end.cursor))


def _reading_entries(
    queue: Queue, job_filter: JobFilter, state: State, limit: int, seen: tuple[str, str] | None
) -> Steps[list[_Entry]]:
    sign = 1 if state is State.ACTIVE else -1
    cursor = None
    if seen is not None:
        last_queue, cursor = seen
        if queue.name != last_queue:
            cursor = cursor_beside(cursor, past=queue.name < last_queue)
    page = yield from queue.reading_found(job_filter, limit=limit, cursor=cursor)
    entries = [
        _Entry((sign * instant_of(at), queue.name), at, job) for job, at in zip(page.jobs, page.cursors, strict=True)
    ]
    if page.next_cursor is not None:
        entries.append(_Entry((sign * instant_of(page.next_cursor), queue.name), page.next_cursor))
    return entries
