"""The queue between the session and the Worker's threads.

Stands in for the PriorityQueue that Dramatiq's Worker makes. Nothing waits in it: a job is only taken from Redis, in
order of priority, when a thread is free for it. So it need not order, and a hand-over costs one step in C.
"""

from __future__ import annotations

import queue
import threading
from typing import NamedTuple

from .leased import LeasedMessage


class WorkItem(NamedTuple):
    """What a Worker's thread takes; the Worker reads only `message`."""

    message: LeasedMessage


class WorkQueue:
    """What Dramatiq's Worker uses of a `queue.Queue`, over a `queue.SimpleQueue`."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[WorkItem] = queue.SimpleQueue()
        self._counted = threading.Condition()
        self.unfinished_tasks = 0

    def put(self, item: WorkItem) -> None:
        """Hand an item to a thread."""
        with self._counted:
            self.unfinished_tasks += 1
        self._items.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> WorkItem:
        """Return the next item.

        Raises `queue.Empty` when none came within `timeout` seconds.
        """
        return self._items.get(block, timeout)

    def get_nowait(self) -> WorkItem:
        """Return the next item.

        Raises `queue.Empty` when there is none.
        """
        return self._items.get_nowait()

    def task_done(self) -> None:
        """Say that an item is dealt with."""
        with self._counted:
            self.unfinished_tasks -= 1
            if self.unfinished_tasks <= 0:
                self._counted.notify_all()

    def join(self) -> None:
        """Wait until every item is dealt with."""
        with self._counted:
            self._counted.wait_for(lambda: self.unfinished_tasks <= 0)
