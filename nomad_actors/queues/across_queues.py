"""Jobs of all queues in one list, page after page: what failed with the last first, what runs with the longest first.

Each queue gives a page of its own, and these are merged by the instants that the lists are sorted by, then by the
queues' names. A cursor names the last job seen and its queue: every queue goes on at that instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..broker.client.finder import BadCursor, cursor_beside, cursor_of_all, instant_of, split_cursor_of_all
from ..broker.states import State
from ..errors import BadInput
from .job import Job
from .queue import of_readable
from .registry import Queues
from .search import JobFilter, JobPage

#: A place in the merged list: the instant (turned round where the newest comes first), and the queue.
_Place = tuple[float, str]


@dataclass(frozen=True)
class _Entry:
    """A job of one queue's page, or with none the end of a page that goes on."""

    place: _Place
    cursor: str
    job: Job | None = None


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
    sought = JobFilter(states=(state.value,), outcomes=outcomes)
    try:
        seen = None if cursor is None else split_cursor_of_all(cursor)
        pages = of_readable(queues.names(), lambda name: list(_entries(queues, name, sought, state, limit, seen)))
        found = [each for page in pages for each in page]
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


def _entries(
    queues: Queues, name: str, sought: JobFilter, state: State, limit: int, seen: tuple[str, str] | None
) -> Iterator[_Entry]:
    """Yield one queue's part of a page, in its order."""
    sign = 1 if state is State.ACTIVE else -1
    own = None
    if seen is not None:
        of, own = seen
        if name != of:
            own = cursor_beside(own, past=name < of)
    page = queues.get_queue(name).find(sought, limit=limit, cursor=own)
    for job, at in zip(page.jobs, page.cursors, strict=True):
        yield _Entry((sign * instant_of(at), name), at, job)
    if page.next_cursor is not None:
        yield _Entry((sign * instant_of(page.next_cursor), name), page.next_cursor)
