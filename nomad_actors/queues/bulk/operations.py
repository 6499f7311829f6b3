"""Counts, begins, stops, resumes and lists the bulk operations of the queues."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ... import logs
from ...broker.client.operations import OperationBook
from ...broker.client.steps import Steps
from ...broker.errors import WrongKeyType
from ...errors import JobNotFound, WrongState
from ...logs.foreign_text import describe_error
from ..across_queues import read_each
from ..registry import Queues
from ..snapshot import QueueSnapshot
from .operation import BulkRequest, Operation

logger = logs.get_logger("nomad_actors.queues.bulk")

#: How many finished operations of each queue are kept, and how many stopped ones.
MAX_KEPT = 50
#: How long a runner owns an operation after each step.
OWNED_MS = 10_000


class Operations:
    """Every queue's bulk operations.

    Every method raises `UnknownQueue` if the queue does not exist, and `Unavailable` if Redis does not respond.
    """

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def count(self, queue: str, bulk_request: BulkRequest) -> tuple[int, bool]:
        """Return how many jobs a request selects now, and whether the number is exact.

        It is an upper limit, not exact, if jobs must be read one by one to know.

        Raises `BadInput` if the request is invalid.
        """
        return self._queues.broker.read(self._reading_count(queue, bulk_request.checked()))[:2]

    def _reading_count(self, queue: str, bulk_request: BulkRequest) -> Steps[tuple[int, bool, QueueSnapshot]]:
        """Read what `count` returns, and the queue's state at the same instant."""
        count, exact, snapshot = yield from self._queues.get_queue(queue).reading_count(bulk_request.job_filter)
        job_filter = bulk_request.job_filter
        if (
            bulk_request.action == "retry"
            and "failed" in job_filter.states
            and not (job_filter.fields or job_filter.fingerprint or job_filter.outcomes)
        ):
            # Cancelled jobs are counted as failed, but are skipped, like those that lost every worker that ran them.
            return max(0, count - snapshot.cancelled), False, snapshot
        return count, exact, snapshot

    def begin(self, queue: str, bulk_request: BulkRequest, *, owner: str = "") -> Operation:
        """Save a new operation. It belongs to `owner` if one is named; else any runner takes it.

        It leaves out jobs that enter its states from now on. Raises `BadInput` if the request is invalid.
        """
        bulk_request = bulk_request.checked()
        book = self._book(queue)
        readings: list[Steps[Any]] = [self._reading_count(queue, bulk_request), book.reading()]
        counted, stored = self._queues.broker.read_together(readings)
        if isinstance(counted, WrongKeyType):
            raise counted
        total, _, snapshot = counted
        now_ms = self._queues.clock.now_ms()
        operation = Operation(
            id=secrets.token_hex(8),
            queue=queue,
            request=replace(bulk_request, job_filter=replace(bulk_request.job_filter, entered_by_ms=snapshot.now_ms)),
            state="running",
            total=total,
            created_ms=now_ms,
            updated_ms=now_ms,
            owner=owner,
            owned_until_ms=now_ms + OWNED_MS if owner else 0,
        )
        known = {} if isinstance(stored, WrongKeyType) else stored
        saved = book.put(operation.id, operation.stored(), seen=0, drop=_beyond_kept(_newest_first({queue: known})))
        assert saved is not None
        return Operation.of(saved)

    def get(self, queue: str, operation_id: str) -> Operation:
        """Return one operation. Raises `JobNotFound`."""
        for operation in self.of_queue(queue):
            if operation.id == operation_id:
                return operation
        raise JobNotFound(f"queue {queue!r} has no bulk operation {operation_id[:80]!r}")

    def of_queue(self, queue: str) -> list[Operation]:
        """Return a queue's operations, newest first."""
        (records,) = self._queues.broker.read_together([self._book(queue).reading()])
        return [] if isinstance(records, WrongKeyType) else _newest_first({queue: records})

    def all(self) -> list[Operation]:
        """Return the operations of all queues, newest first."""
        return _newest_first(read_each(self._queues, lambda queue: self._book(queue.name).reading()))

    def stop(self, queue: str, operation_id: str) -> Operation:
        """Stop an operation after its current step; what it has done is not undone.

        Raises `JobNotFound`, and `WrongState` if it is not running.
        """
        return self._change(queue, operation_id, expected="running", state="stopped")

    def resume(self, queue: str, operation_id: str, *, owner: str = "") -> Operation:
        """Resume a stopped operation where it stopped. It belongs to `owner` if one is named.

        Raises `JobNotFound`, and `WrongState` if it is not stopped.
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
        """Save an operation and return it, or None if it has been changed by somebody else since it was read."""
        operation = replace(operation, updated_ms=self._queues.clock.now_ms())
        records = self._book(operation.queue).put(operation.id, operation.stored(), seen=operation.revision)
        return None if records is None else Operation.of(records)

    def _book(self, queue: str) -> OperationBook:
        self._queues.get_queue(queue)
        return self._queues.broker.operations(queue)


def _newest_first(by_queue: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Operation]:
    found = [operation for queue, records in by_queue.items() for operation in _readable(queue, records)]
    return sorted(found, key=lambda operation: (-operation.created_ms, operation.id))


def _beyond_kept(operations: Sequence[Operation]) -> list[tuple[str, int]]:
    # Counted apart, so that finished operations do not push out stopped ones, which may be resumed.
    by_state = ([each for each in operations if each.state == state] for state in ("finished", "stopped"))
    return [(each.id, each.revision) for of_state in by_state for each in of_state[MAX_KEPT:]]


def _readable(queue: str, records: Mapping[str, Mapping[str, Any]]) -> Iterator[Operation]:
    for operation_id, record in records.items():
        try:
            yield Operation.of(record)
        except ValueError as error:
            # Somebody edited Redis by hand: the other operations continue.
            reason = describe_error(error)
            logger.error("the record of a bulk operation is invalid", queue=queue, operation=operation_id, error=reason)
