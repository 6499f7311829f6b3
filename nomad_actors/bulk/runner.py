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
from collections.abc import Callable
from dataclasses import replace

from .. import log
from ..errors import NomadError, Unavailable
from ..queues import Queues
from .operation import Operation
from .operations import Operations

logger = log.get_logger("nomad_actors.bulk")

#: How long an operation is its runner's after each step.
OWNED_MS = 10_000
#: How often a runner looks for operations that nobody runs.
LOOK_SECONDS = 1.0
STEP = 100


class Runner:
    """Takes up operations that nobody runs, one after another."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._operations = Operations(queues)
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nomad-bulk", daemon=True)

    def start(self) -> None:
        """Look for operations from now on, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the step at hand; what is not finished is another's, or goes on later."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
            except Unavailable:
                # Redis is away; who asks the admin is told. It goes on when Redis is back.
                continue
            except Exception:
                logger.error("the runner of bulk operations failed", exc_info=True)

    def _look(self) -> None:
        for operation in reversed(self._operations.all()):
            if operation.state == "running" and operation.owned_until_ms < self._queues.clock.now_ms():
                self.run(operation)

    def run(self, operation: Operation, tell: Callable[[Operation], None] = lambda _: None) -> Operation:
        """Run an operation to its end, or until somebody stops it or takes it over; return it as it then is.

        Raises `Unavailable` when Redis does not answer: it goes on later.
        """
        stepped = operation
        held = self._operations.save(self._owned(operation))
        while held is not None and held.state == "running" and not self._stop.is_set():
            operation = held
            tell(operation)
            try:
                stepped = self._step(operation)
            except Unavailable:
                raise
            except NomadError as error:
                logger.error("a bulk operation stopped", operation=operation.id, error=str(error))
                stepped = replace(operation, state="stopped", owner="", owned_until_ms=0, error=str(error))
            held = self._operations.save(stepped)
            if held is not None and held.state == "running":
                self._stop.wait(self._seconds_of(stepped, operation))
        latest = self._after_another(operation, stepped) if held is None else held
        tell(latest)
        return latest

    def _after_another(self, operation: Operation, stepped: Operation) -> Operation:
        """Return the operation as somebody else has left it; our last step still counts when it was stopped."""
        latest = self._operations.get(operation.queue, operation.id)
        if latest.state == "stopped" and latest.cursor == operation.cursor and latest.done == operation.done:
            counted = replace(latest, done=stepped.done, skipped=stepped.skipped, cursor=stepped.cursor)
            return self._operations.save(counted) or latest
        return latest

    def _owned(self, operation: Operation) -> Operation:
        until = self._queues.clock.now_ms() + OWNED_MS
        return replace(operation, owner=self._name, owned_until_ms=until)

    def _step(self, operation: Operation) -> Operation:
        wish = operation.wish
        queue = self._queues.get_queue(operation.queue)
        count = min(STEP, wish.per_second)
        done, skipped, cursor = queue.act_on_page(
            wish.action, wish.sought, limit=count, cursor=operation.cursor, reason=wish.reason
        )
        stepped = replace(operation, done=operation.done + done, skipped=operation.skipped + skipped, cursor=cursor)
        if cursor is None:
            logger.info(
                "a bulk operation is finished", operation=operation.id, queue=operation.queue, done=stepped.done
            )
            return replace(stepped, state="finished", owner="", owned_until_ms=0)
        return self._owned(stepped)

    @staticmethod
    def _seconds_of(stepped: Operation, before: Operation) -> float:
        return (stepped.done - before.done) / stepped.wish.per_second
