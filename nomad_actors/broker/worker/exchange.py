"""A session's rounds with Redis: what it sends together, and how it handles the replies."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from .. import keys
from ..client.link import Call, Link
from ..records.control import NUDGE
from ..redis_clock import boot_seconds
from .confirmed import ConfirmedRuns
from .heartbeat import Heartbeats
from .held_jobs import HeldJobs
from .lease import Settlement
from .queue_state import QueueState
from .reporting import Reporting, SentReport
from .starting import Request, Starting
from .waiter import Waiter

#: A worker that sent no heartbeat for this long is forgotten.
FORGET_MS = 3_600_000
#: A nudge that nobody reads expires.
NUDGE_EXPIRES_MS = 60_000


class _Sent(NamedTuple):
    """The requests of a round, in the order of the replies."""

    reports: list[SentReport]
    batches: list[list[Settlement]]
    requests: list[Request]
    beats: list[QueueState]


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
        confirmed: ConfirmedRuns,
    ) -> None:
        self._held, self._link = held, link
        self._reporting, self._starting, self._heartbeats = reporting, starting, heartbeats
        self._waiter, self._confirmed = waiter, confirmed
        #: The bases of queues whose wake token we took and cannot use.
        self.unused_tokens: set[str] = set()
        #: When this round's commands were sent.
        self._sent_boot = 0.0

    def run_round(self) -> bool:
        """Send what is due and handle the replies; return True if anything was sent.

        Raises one of `LINK_ERRORS`, and the error that a script replied with.
        """
        settling = self._held.settling
        refused = settling.send_elsewhere(self._link)
        batches = settling.batches(refused)
        requests = self._starting.requests()
        self._register()
        sent = _Sent(self._reporting.due(settling), batches, requests, self._heartbeats.due())
        calls = self._calls(sent)
        started = 0
        self._sent_boot = boot_seconds()
        if calls:
            # Report ended jobs while Redis works, so that jobs that could start need not wait for it.
            started = self._handle_replies(self._link.run(calls, self._confirmed.report), sent)
        self._arm()
        if not started:
            # The next round may be a long time off.
            self._confirmed.report()
        if refused:
            raise refused[0]
        return bool(calls)

    def _calls(self, sent: _Sent) -> list[Call]:
        leaving = {id(s.lease) for batch in sent.batches for s in batch}
        calls = [self._reporting.call(each) for each in sent.reports]
        calls += [self._held.settling.call(batch, self._evidence_for(batch)) for batch in sent.batches]
        calls += [self._starting.call(request) for request in sent.requests]
        return calls + [self._heartbeats.call(state, leaving) for state in sent.beats]

    def _evidence_for(self, batch: list[Settlement]) -> str:
        return self._held.by_name[batch[0].lease.queue].clock.evidence()

    def _register(self) -> None:
        """Write the options of newly served queues to Redis, and forget workers that were lost long ago."""
        new = [state for state in self._held.attached() if not state.registered]
        calls = [Call("forget_workers", state.base, (FORGET_MS,)) for state in new]
        calls += [Call("set_limits", state.base, ("limit", state.limit)) for state in new if state.limit is not None]
        for state in new:
            if (retention := state.retention) is not None:
                arguments = (retention.completed, retention.completed_ms, retention.failed, retention.failed_ms)
                calls.append(Call("set_retention", state.base, arguments))
        if calls:
            self._link.run(calls)
        for state in new:
            state.registered = True

    def _handle_replies(self, replies: list[Any], sent: _Sent) -> int:
        """Handle the replies; return how many jobs were started."""
        now, at, started = time.monotonic(), iter(replies), 0
        for report, reply in zip(sent.reports, at, strict=False):
            if not isinstance(reply, ResponseError):
                self._reporting.replied(report, now)
        for batch, reply in zip(sent.batches, at, strict=False):
            if not isinstance(reply, ResponseError):
                self._held.settling.confirmed(batch, reply)
        for request, reply in zip(sent.requests, at, strict=False):
            if not isinstance(reply, ResponseError):
                started += self._starting.replied(request, reply, now)
        for state, reply in zip(sent.beats, at, strict=False):
            state.beat_mono = now
            if not isinstance(reply, ResponseError):
                self._heartbeats.replied(state, reply, now, self._sent_boot)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return started

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
        """Remove this worker's entries from Redis, and wake its waiter.

        Raises one of `LINK_ERRORS`.
        """
        self._link.run(self._heartbeats.leave())
        if self._waiter.nudge_key is not None:
            self._link.commands(self._nudge())

    def _nudge(self) -> list[tuple[Any, ...]]:
        """Return the commands that wake our own waiter."""
        key = self._waiter.nudge_key
        return [("RPUSH", key, NUDGE), ("PEXPIRE", key, NUDGE_EXPIRES_MS)]
