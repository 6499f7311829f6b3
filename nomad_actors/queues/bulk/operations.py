"""The bulk operations of the queues: counted, begun, stopped, gone on with, looked at."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ... import logs
from ...broker.client.operations import OperationBook
from ...errors import JobNotFound, WrongState
from ...logs.foreign_text import describe_error
from ..queue import redis_errors
from ..registry import Queues
from .operation import Operation, Wish

logger = logs.get_logger("nomad_actors.queues.bulk")

#: How many that are finished are kept of each queue, and how many that are stopped.
KEPT = 50
#: How long an operation is its runner's after each step.
OWNED_MS = 10_000


class OperationNotFound(JobNotFound):
    """Raised when a queue has no bulk operation of this id."""


class Operations:
    """Every queue's bulk operations.

    Every method raises `UnknownQueue` for a queue that does not exist, `Unavailable` when Redis does not answer.
    """

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def count(self, queue: str, wish: Wish) -> tuple[int, bool]:
        """Return how many jobs a wish is meant for now, and whether that is exact.

        It is not where jobs must be looked at one by one to know: then no more are meant than it says.

        Raises `BadInput` for a wish that is none.
        """
        wish = wish.checked()
        found = self._queues.get_queue(queue)
        count, exact = found.count(wish.sought)
        sought = wish.sought
        if (
            wish.action == "retry"
            and "failed" in sought.states
            and not (sought.fields or sought.fingerprint or sought.outcomes)
        ):
            # They are failed ones too, and are left alone, as are those that lose every worker.
            return max(0, count - found.cancelled_count()), False
        return count, exact

    def begin(self, queue: str, wish: Wish, *, owner: str = "") -> Operation:
        """Keep a new operation, `owner`'s if one is named; else a runner will take it up.

        Jobs that come into its states from now on are not meant. Raises `BadInput` for a wish that is none.
        """
        wish = wish.checked()
        total, _ = self.count(queue, wish)
        now_ms = self._queues.clock.now_ms()
        redis_ms = self._queues.get_queue(queue).now_ms()
        operation = Operation(
            id=secrets.token_hex(8),
            queue=queue,
            wish=replace(wish, sought=replace(wish.sought, entered_by_ms=redis_ms)),
            state="running",
            total=total,
            created_ms=now_ms,
            updated_ms=now_ms,
            owner=owner,
            owned_until_ms=now_ms + OWNED_MS if owner else 0,
        )
        book = self._book(queue)
        with redis_errors():
            kept = book.put(operation.id, operation.stored(), seen=0)
        assert kept is not None
        self._prune(queue)
        return Operation.of(kept)

    def get(self, queue: str, operation_id: str) -> Operation:
        """Return one operation.

        Raises `OperationNotFound`.
        """
        for operation in self.of_queue(queue):
            if operation.id == operation_id:
                return operation
        raise OperationNotFound(f"queue {queue!r} has no bulk operation {operation_id[:80]!r}")

    def of_queue(self, queue: str) -> list[Operation]:
        """Return a queue's operations, the newest first."""
        with redis_errors():
            told = self._book(queue).read()
        return sorted(_readable(queue, told), key=lambda each: (-each.created_ms, each.id))

    def all(self) -> list[Operation]:
        """Return every queue's operations, the newest first."""
        found = [operation for name in self._queues.names() for operation in self.of_queue(name)]
        return sorted(found, key=lambda each: (-each.created_ms, each.id))

    def stop(self, queue: str, operation_id: str) -> Operation:
        """Stop an operation after the step at hand; what it did stays done.

        Raises `OperationNotFound`, `WrongState` for one that does not run.
        """
        return self._change(queue, operation_id, expected="running", state="stopped")

    def go_on(self, queue: str, operation_id: str, *, owner: str = "") -> Operation:
        """Let a stopped operation go on where it stopped, as `owner`'s if one is named.

        Raises `OperationNotFound`, `WrongState` for one that is not stopped.
        """
        return self._change(queue, operation_id, expected="stopped", state="running", owner=owner)

    def _change(self, queue: str, operation_id: str, *, expected: str, state: str, owner: str = "") -> Operation:
        while True:
            operation = self.get(queue, operation_id)
            if operation.state != expected:
                raise WrongState(f"bulk operation {operation_id!r} is {operation.state}, not {expected}")
            until_ms = self._queues.clock.now_ms() + OWNED_MS if owner else 0
            changed = self.save(replace(operation, state=state, owner=owner, owned_until_ms=until_ms, error=""))
            if changed is not None:
                return changed

    def save(self, operation: Operation) -> Operation | None:
        """Keep an operation as it is now; return it, None when somebody else has changed it since it was read."""
        operation = replace(operation, updated_ms=self._queues.clock.now_ms())
        with redis_errors():
            told = self._book(operation.queue).put(operation.id, operation.stored(), seen=operation.revision)
        return None if told is None else Operation.of(told)

    def _prune(self, queue: str) -> None:
        operations = self.of_queue(queue)
        with redis_errors():
            # Apart: those that are finished do not push out what may still go on.
            for state in ("finished", "stopped"):
                for operation in [each for each in operations if each.state == state][KEPT:]:
                    self._book(queue).drop(operation.id, seen=operation.revision)

    def _book(self, queue: str) -> OperationBook:
        self._queues.get_queue(queue)
        return self._queues.operation_book(queue)


def _readable(queue: str, told: Mapping[str, Mapping[str, Any]]) -> Iterator[Operation]:
    for operation_id, record in told.items():
        try:
            yield Operation.of(record)
        except (ValueError, TypeError, KeyError) as error:
            # Somebody's hand in Redis: the others go on.
            reason = describe_error(error)
            logger.error("the record of a bulk operation is rubbish", queue=queue, operation=operation_id, error=reason)
