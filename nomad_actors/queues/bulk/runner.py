"""Runs bulk operations step by step: on a thread of the admin, or in the foreground of a command.

A step acts on one page of jobs in one round trip, then saves the operation with the cursor of the next page. A runner
owns an operation for a limited time, which each step extends. If it dies, another runner continues from the last cursor
and skips the jobs of the interrupted step, because they are in another state by then.
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
from .operation import BulkRequest, Operation
from .operations import OWNED_MS, Operations

logger = logs.get_logger("nomad_actors.queues.bulk")

#: How often a runner looks for operations without an owner.
POLL_SECONDS = 1.0
#: Jobs in one step.
STEP = 100


class Runner:
    """Takes operations that have no owner, and runs a step of each in turn, at the rate of each."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._operations = Operations(queues)
        #: The owner of the operations that it runs.
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        #: By id: the operation as last saved, and when its next step is due.
        self._running: dict[str, tuple[Operation, float]] = {}
        self._poll_mono = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run operations on a new thread until `close`."""
        # The thread is made here, after the admin's server has forked: a fork does not copy threads.
        self._thread = threading.Thread(target=self._run, name="nomad-bulk", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the current step, and release unfinished operations so that another runner can take them."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._idle_seconds()):
            try:
                self._round()
            except Unavailable:
                # Redis is down, and the admin reports that. Continue when it is back.
                self._stop.wait(POLL_SECONDS)
            except Exception:
                logger.error("the runner of bulk operations failed", exc_info=True)
                # An operation may have caused it: drop all. They are taken again when their ownership expires.
                self._running.clear()
                self._stop.wait(POLL_SECONDS)
        self._release()

    def _release(self) -> None:
        for operation, _ in self._running.values():
            try:
                self._operations.save(replace(operation, owner="", owned_until_ms=0))
            except Unavailable:
                # Operations that cannot be released now can be taken by others when our ownership expires.
                return

    def _idle_seconds(self) -> float:
        due_mono = min((at for _, at in self._running.values()), default=self._poll_mono)
        return max(0.0, min(due_mono, self._poll_mono) - time.monotonic())

    def _round(self) -> None:
        now_mono = time.monotonic()
        if now_mono >= self._poll_mono:
            self._take_free(now_mono)
            self._poll_mono = now_mono + POLL_SECONDS
        for operation, due_mono in sorted(self._running.values(), key=lambda each: each[1]):
            if due_mono <= now_mono and not self._stop.is_set():
                stepped = self._advance(operation)
                if self._is_ours(stepped):
                    next_mono = time.monotonic() + _seconds_between(operation, stepped)
                    self._running[operation.id] = stepped, next_mono
                else:
                    del self._running[operation.id]

    def _take_free(self, now_mono: float) -> None:
        now_ms = self._queues.clock.now_ms()
        for operation in reversed(self._operations.all()):
            has_no_owner = operation.state == "running" and operation.owned_until_ms < now_ms
            if has_no_owner and operation.id not in self._running:
                owned = self._operations.save(self._owned(operation))
                if owned is not None:
                    self._running[operation.id] = owned, now_mono

    def run(self, operation: Operation, report: Callable[[Operation], None] = lambda _: None) -> Operation:
        """Run an operation until it ends, is stopped or is taken over; return its last state.

        `report` is called with the operation before each step and at the end.

        Raises `Unavailable` if Redis does not respond: another runner continues later.
        """
        latest = self._operations.save(self._owned(operation)) or self._operations.get(operation.queue, operation.id)
        while self._is_ours(latest) and not self._stop.is_set():
            report(latest)
            before, latest = latest, self._advance(latest)
            if self._is_ours(latest):
                self._stop.wait(_seconds_between(before, latest))
        report(latest)
        return latest

    def _advance(self, operation: Operation) -> Operation:
        try:
            stepped = self._step(operation)
        except Unavailable:
            raise
        except NomadError as error:
            logger.error("a bulk operation stopped", operation=operation.id, error=str(error))
            stepped = replace(operation, state="stopped", owner="", owned_until_ms=0, error=str(error))
        return self._operations.save(stepped) or self._merged(operation, stepped)

    def _merged(self, operation: Operation, stepped: Operation) -> Operation:
        """Return the operation as somebody else changed it, plus our last step if nobody has run another step since."""
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
        request = operation.request
        queue = self._queues.get_queue(operation.queue)
        count = min(STEP, request.per_second)
        done, skipped, cursor = queue.act_on_page(
            request.action,
            request.job_filter,
            limit=count,
            cursor=operation.cursor,
            reason=_reason(request),
        )
        stepped = replace(operation, done=operation.done + done, skipped=operation.skipped + skipped, cursor=cursor)
        if cursor is None:
            logger.info(
                "a bulk operation is finished", operation=operation.id, queue=operation.queue, done=stepped.done
            )
            return replace(stepped, state="finished", owner="", owned_until_ms=0)
        return self._owned(stepped)


def _reason(request: BulkRequest) -> str:
    if not request.by:
        return request.reason
    return f"{request.reason} (by {request.by})" if request.reason else f"cancelled by {request.by}"


def _seconds_between(before: Operation, stepped: Operation) -> float:
    return (stepped.done - before.done) / stepped.request.per_second
