"""The queue between the session and the Worker's threads.

It replaces the PriorityQueue of Dramatiq's Worker. No job waits in it, because jobs are taken from Redis, in the order
of priority, only when a thread is free. So it need not sort, and passing a job on is one step in C.
"""

from __future__ import annotations

import queue
import threading
from typing import NamedTuple

from .message import LeasedMessage


class WorkItem(NamedTuple):
    """An item for a Worker's thread, which reads only `message`."""

    message: LeasedMessage


class WorkQueue:
    """The methods of `queue.Queue` that Dramatiq's Worker uses, on top of a `queue.SimpleQueue`."""

    def __init__(self) -> None:
        #: None wakes a waiting thread without giving it an item.
        self._items: queue.SimpleQueue[WorkItem | None] = queue.SimpleQueue()
        self._counted = threading.Condition()
        self.unfinished_tasks = 0

    def put(self, item: WorkItem) -> None:
        with self._counted:
            self.unfinished_tasks += 1
        self._items.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> WorkItem:
        """Return the next item; raises `queue.Empty` after `timeout` seconds, or if the thread is woken."""
        item = self._items.get(block, timeout)
        if item is None:
            raise queue.Empty
        return item

    def get_nowait(self) -> WorkItem:
        while (item := self._items.get_nowait()) is None:
            pass
        return item

    def wake(self, threads: int) -> None:
        """Wake threads that wait for an item, so that they check whether they must stop.

        They may miss their timeout: in CPython 3.11, if another thread took the item that `SimpleQueue.get` was woken
        for, it calculates its remaining timeout, and treats a negative one as none.
        """
        if self._items.empty():
            for _ in range(threads):
                self._items.put(None)

    def task_done(self) -> None:
        with self._counted:
            self.unfinished_tasks -= 1
            if self.unfinished_tasks <= 0:
                self._counted.notify_all()

    def join(self) -> None:
        with self._counted:
            self._counted.wait_for(lambda: self.unfinished_tasks <= 0)
