"""A session's rounds with Redis: what it sends together, and how it handles the replies."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from .. import keys
from ..client.link import Call, Link
from ..records.control import NUDGE
from ..redis_clock import boot_seconds
from .heartbeat import Heartbeats
from .held_jobs import HeldJobs
from .queue_state import QueueState
from .reporting import Reporting
from .starting import Starting
from .waiter import Waiter

#: A worker that sent no heartbeat for this long is forgotten.
FORGET_MS = 3_600_000
#: A nudge that nobody reads expires.
NUDGE_EXPIRES_MS = 60_000

#: A call and the handler of its reply.
HandledCall = tuple[Call, Callable[[Any], None]]


class Exchange:
    """Runs the rounds of one session with Redis; used only by the pump."""

    def __init__(
        self,
        held: HeldJobs,
        link: Link,
        *,
        reporting: Reporting,
        starting: Starting,
        heartbeats: Heartbeats,
        waiter: Waiter,
    ) -> None:
        self._held, self._link = held, link
        self._reporting, self._starting, self._heartbeats = reporting, starting, heartbeats
        self._waiter = waiter
        #: The bases of queues whose wake token we took and cannot use.
        self.unused_tokens: set[str] = set()

    def run_round(self) -> bool:
        """Send what is due and handle the replies; return True if anything was sent.

        Raises one of `LINK_ERRORS`, and the error that a script replied with.
        """
        refused = self._held.settling.send_elsewhere(self._link)
        calls, beats = self._due(refused)
        free_before = self._held.free_threads()
        if calls:
            self._run(calls, beats)
        self._arm()
        if self._held.free_threads() >= free_before:
            # No job was started: the next round may be a long time off.
            self._held.settling.report()
        if refused:
            raise refused[0]
        return bool(calls)

    def _due(self, refused: list[Exception]) -> tuple[list[HandledCall], list[QueueState]]:
        """Return the calls of a round in the order of sending, and the queues whose heartbeats are among them."""
        settling, calls = self._held.settling, list[HandledCall]()
        batches = settling.batches(refused)
        requests = self._starting.requests()
        self._register()
        reports, beats, sent_boot = self._reporting.due(settling), self._heartbeats.due(), boot_seconds()
        leaving = {id(s.lease) for batch in batches for s in batch}
        for report in reports:
            calls.append((self._reporting.call(report), partial(self._reporting.replied, report)))
        for batch in batches:
            evidence = self._held.by_name[batch[0].lease.queue].clock.evidence()
            calls.append((settling.call(batch, evidence), partial(settling.confirmed, batch)))
        for request in requests:
            calls.append((self._starting.call(request), partial(self._starting.replied, request)))
        for state in beats:
            handle = partial(self._heartbeats.replied, state, sent_boot)
            calls.append((self._heartbeats.call(state, leaving), handle))
        return calls, beats

    def _run(self, calls: list[HandledCall], beats: list[QueueState]) -> None:
        # Report ended jobs while Redis works, so that jobs that could start need not wait for it.
        replies = self._link.run([call for call, _ in calls], self._held.settling.report)
        for state in beats:
            state.beat_mono = time.monotonic()
        for (_, handle), reply in zip(calls, replies, strict=True):
            if not isinstance(reply, ResponseError):
                handle(reply)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply

    def _register(self) -> None:
        """Write the options of newly served queues to Redis, and forget workers that were lost long ago."""
        new = [state for state in self._held.attached() if not state.registered]
        calls = [Call("forget_workers", state.base, (FORGET_MS,)) for state in new]
        for state in new:
            if (limit := state.options.limit) is not None:
                calls.append(Call("set_limits", state.base, ("limit", limit)))
            if (retention := state.options.retention) is not None:
                arguments = (retention.completed, retention.completed_ms, retention.failed, retention.failed_ms)
                calls.append(Call("set_retention", state.base, arguments))
        if calls:
            self._link.run(calls)
        for state in new:
            state.registered = True

    def _arm(self) -> None:
        """Let the waiter wait for every queue that has free slots and no work."""
        attached = self._held.attached()
        idle = {state.base for state in attached if self._held.taking and state.asleep and state.free > 0}
        commands: list[tuple[Any, ...]] = [("RPUSH", keys.WAKE.of(base), "1") for base in self.unused_tokens]
        if self._waiter.arm({state.base for state in attached}, idle):
            commands += self._nudge()
        if commands:
            self._link.commands(commands)
        self.unused_tokens.clear()

    def leave(self) -> None:
        """Remove this worker's entries from Redis, and wake its waiter. Raises one of `LINK_ERRORS`."""
        self._link.run(self._heartbeats.leave())
        if self._waiter.nudge_key is not None:
            self._link.commands(self._nudge())

    def _nudge(self) -> list[tuple[Any, ...]]:
        key = self._waiter.nudge_key
        return [("RPUSH", key, NUDGE), ("PEXPIRE", key, NUDGE_EXPIRES_MS)]
