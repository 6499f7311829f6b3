"""The queue between the session and the Worker's threads.

Stands in for the PriorityQueue that Dramatiq's Worker makes. Nothing waits in it: a job is only taken from Redis, in
order of priority, when a thread is free for it. So it need not order, and a hand-over costs one step in C.
"""

from __future__ import annotations

import queue
import threading
from typing import NamedTuple

from .message import LeasedMessage


class WorkItem(NamedTuple):
    """What a Worker's thread takes; the Worker reads only `message`."""

    message: LeasedMessage


class WorkQueue:
    """What Dramatiq's Worker uses of a `queue.Queue`, over a `queue.SimpleQueue`."""

    def __init__(self) -> None:
        #: None wakes a thread that waits, without an item.
        self._items: queue.SimpleQueue[WorkItem | None] = queue.SimpleQueue()
        self._counted = threading.Condition()
        self.unfinished_tasks = 0

    def put(self, item: WorkItem) -> None:
        """Hand an item to a thread."""
        with self._counted:
            self.unfinished_tasks += 1
        self._items.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> WorkItem:
        """Return the next item.

        Raises `queue.Empty` when none came within `timeout` seconds, or when the thread is woken.
        """
        item = self._items.get(block, timeout)
        if item is None:
            raise queue.Empty
        return item

    def get_nowait(self) -> WorkItem:
        """Return the next item.

        Raises `queue.Empty` when there is none.
        """
        while (item := self._items.get_nowait()) is None:
            pass
        return item

    def wake(self, threads: int) -> None:
        """Let threads that wait for an item look whether they are to stop.

        In CPython 3.11 `SimpleQueue.get` calculates the rest of its timeout when another thread took the item that it
        was woken for; a rest below zero is taken for no timeout, and the thread waits until the next item.
        """
        if self._items.empty():
            for _ in range(threads):
                self._items.put(None)

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
