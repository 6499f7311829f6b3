"""Runs bulk operations step by step: in the admin's process beside its requests, or in a command's foreground.

A step is a page of jobs, acted on in one round trip, and then the record with the cursor of the next page. Whoever runs
an operation owns it for a while and says so with every step; when it dies, another goes on from the last cursor: jobs
of the step that was cut off are found in another state then, and passed over.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from ... import logs
from ...errors import NomadError, Unavailable
from ..registry import Queues
from .operation import Operation, Wish
from .operations import OWNED_MS, Operations

logger = logs.get_logger("nomad_actors.queues.bulk")

#: How often a runner looks for operations that nobody runs.
LOOK_SECONDS = 1.0
STEP = 100


class Runner:
    """Takes up operations that nobody runs, and takes a step of each in turn, at its own pace."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._operations = Operations(queues)
        #: The owner of what it runs.
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        #: By id: what it runs as it was saved last, and from when on it may take its next step.
        self._running: dict[str, tuple[Operation, float]] = {}
        self._look_mono = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look for operations from now on, in a thread of its own."""
        # Made here, and not before the admin's server forks: Python takes one that was for ended.
        self._thread = threading.Thread(target=self._run, name="nomad-bulk", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the step at hand; what is not finished is anybody's at once, and goes on later."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._idle_seconds()):
            try:
                self._round()
            except Unavailable:
                # Redis is away; who asks the admin is told. It goes on when Redis is back.
                self._stop.wait(LOOK_SECONDS)
            except Exception:
                logger.error("the runner of bulk operations failed", exc_info=True)
                # What it ran may be what fails: it is taken up again when it is nobody's.
                self._running.clear()
                self._stop.wait(LOOK_SECONDS)
        self._release()

    def _release(self) -> None:
        for operation, _ in self._running.values():
            try:
                self._operations.save(replace(operation, owner="", owned_until_ms=0))
            except Unavailable:
                # What cannot be given up now is another's when we have said nothing for a while.
                return

    def _idle_seconds(self) -> float:
        due_mono = min((at for _, at in self._running.values()), default=self._look_mono)
        return max(0.0, min(due_mono, self._look_mono) - time.monotonic())

    def _round(self) -> None:
        """Look for operations when it is time, then take one step of each that may take one."""
        now_mono = time.monotonic()
        if now_mono >= self._look_mono:
            self._take_up(now_mono)
            self._look_mono = now_mono + LOOK_SECONDS
        for operation, due_mono in sorted(self._running.values(), key=lambda each: each[1]):
            if due_mono <= now_mono and not self._stop.is_set():
                stepped = self._advance(operation)
                if self._is_ours(stepped):
                    next_mono = time.monotonic() + _seconds_between(operation, stepped)
                    self._running[operation.id] = stepped, next_mono
                else:
                    del self._running[operation.id]

    def _take_up(self, now_mono: float) -> None:
        now_ms = self._queues.clock.now_ms()
        for operation in reversed(self._operations.all()):
            is_free = operation.state == "running" and operation.owned_until_ms < now_ms
            if is_free and operation.id not in self._running:
                held = self._operations.save(self._owned(operation))
                if held is not None:
                    self._running[operation.id] = held, now_mono

    def run(self, operation: Operation, tell: Callable[[Operation], None] = lambda _: None) -> Operation:
        """Run an operation to its end, or until somebody stops it or takes it over; return it as it then is.

        Raises `Unavailable` when Redis does not answer: it goes on later.
        """
        held = self._operations.save(self._owned(operation))
        latest = held or self._operations.get(operation.queue, operation.id)
        while self._is_ours(latest) and not self._stop.is_set():
            tell(latest)
            before, latest = latest, self._advance(latest)
            if self._is_ours(latest):
                self._stop.wait(_seconds_between(before, latest))
        tell(latest)
        return latest

    def _advance(self, operation: Operation) -> Operation:
        """Take one step of an operation that is ours; return it as it then is."""
        try:
            stepped = self._step(operation)
        except Unavailable:
            raise
        except NomadError as error:
            logger.error("a bulk operation stopped", operation=operation.id, error=str(error))
            stepped = replace(operation, state="stopped", owner="", owned_until_ms=0, error=str(error))
        return self._operations.save(stepped) or self._after_another(operation, stepped)

    def _after_another(self, operation: Operation, stepped: Operation) -> Operation:
        """Return the operation as somebody else has left it; our last step still counts where nobody took another."""
        latest = self._operations.get(operation.queue, operation.id)
        if not latest.owner and latest.cursor == operation.cursor and latest.done == operation.done:
            counted = replace(latest, done=stepped.done, skipped=stepped.skipped, cursor=stepped.cursor)
            return self._operations.save(counted) or latest
        return latest

    def _is_ours(self, operation: Operation) -> bool:
        return operation.state == "running" and operation.owner == self.name

    def _owned(self, operation: Operation) -> Operation:
        return replace(operation, owner=self.name, owned_until_ms=self._queues.clock.now_ms() + OWNED_MS)

    def _step(self, operation: Operation) -> Operation:
        wish = operation.wish
        queue = self._queues.get_queue(operation.queue)
        count = min(STEP, wish.per_second)
        done, skipped, cursor = queue.act_on_page(
            wish.action,
            wish.sought,
            limit=count,
            cursor=operation.cursor,
            reason=_reason(wish),
        )
        stepped = replace(operation, done=operation.done + done, skipped=operation.skipped + skipped, cursor=cursor)
        if cursor is None:
            logger.info(
                "a bulk operation is finished", operation=operation.id, queue=operation.queue, done=stepped.done
            )
            return replace(stepped, state="finished", owner="", owned_until_ms=0)
        return self._owned(stepped)


def _reason(wish: Wish) -> str:
    """Return what is kept with the jobs that are cancelled: why, and by whom."""
    if not wish.by:
        return wish.reason
    return f"{wish.reason} (by {wish.by})" if wish.reason else f"cancelled by {wish.by}"


def _seconds_between(before: Operation, stepped: Operation) -> float:
    """Return how long an operation waits after a step, so that its pace is kept."""
    return (stepped.done - before.done) / stepped.wish.per_second
