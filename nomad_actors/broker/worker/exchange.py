"""One exchange with Redis: what a session sends in one go, and how it acts on the replies."""

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

#: A worker not heard of for this long is forgotten.
FORGET_MS = 3_600_000
#: A nudge that nobody reads goes by itself.
NUDGE_EXPIRES_MS = 60_000


class _Sent(NamedTuple):
    """What was asked of Redis, in the order of the replies."""

    reports: list[SentReport]
    batches: list[list[Settlement]]
    requests: list[Request]
    beats: list[QueueState]


class Exchange:
    """Speaks with Redis for one session; used by the pump alone."""

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
        #: Bases of queues whose wake token we took and cannot use.
        self.unwanted: set[str] = set()
        #: When the commands of this round were sent.
        self._sent_boot = 0.0

    def speak(self) -> bool:
        """Send what is to be sent and take the replies; return True if there was any.

        Raises one of `LINK_ERRORS`, and what a script answered instead of a reply.
        """
        settling = self._held.settling
        refused = settling.send_elsewhere(self._link)
        batches = settling.batches(refused)
        requests = self._starting.requests()
        self._introduce()
        sent = _Sent(self._reporting.due(settling), batches, requests, self._heartbeats.due())
        calls = self._calls(sent)
        started = 0
        self._sent_boot = boot_seconds()
        if calls:
            # Jobs that could start do not wait for what is reported of those that ended.
            started = self._take_replies(self._link.run(calls, self._confirmed.report), sent)
        self._arm()
        if not started:
            # Another round may be long in coming.
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

    def _introduce(self) -> None:
        """Tell Redis what was declared of the queues we begin to serve, and drop workers that are long gone."""
        new = [state for state in self._held.attached() if not state.introduced]
        calls = [Call("forget_workers", state.base, (FORGET_MS,)) for state in new]
        calls += [Call("set_limits", state.base, ("limit", state.limit)) for state in new if state.limit is not None]
        for state in new:
            if (kept := state.retention) is not None:
                arguments = (kept.completed, kept.completed_ms, kept.failed, kept.failed_ms)
                calls.append(Call("set_retention", state.base, arguments))
        if calls:
            self._link.run(calls)
        for state in new:
            state.introduced = True

    def _take_replies(self, replies: list[Any], sent: _Sent) -> int:
        """Act on the replies; return how many jobs were handed out."""
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
        """Have the waiter wait for every queue that could take work and has none."""
        attached = self._held.attached()
        idle = {state.base for state in attached if self._held.taking and state.asleep and state.free > 0}
        commands: list[tuple[Any, ...]] = [("RPUSH", keys.WAKE.of(base), "1") for base in self.unwanted]
        if self._waiter.arm({state.base for state in attached}, idle):
            commands += self._nudge()
        if commands:
            self._link.commands(commands)
        self.unwanted.clear()

    def leave(self) -> None:
        """Say that this worker goes, and wake its waiter.

        Raises one of `LINK_ERRORS`.
        """
        self._link.run(self._heartbeats.leave())
        if self._waiter.nudge_key is not None:
            self._link.commands(self._nudge())

    def _nudge(self) -> list[tuple[Any, ...]]:
        """Return the commands that wake our own waiter; the key goes by itself if it is never read."""
        key = self._waiter.nudge_key
        return [("RPUSH", key, NUDGE), ("PEXPIRE", key, NUDGE_EXPIRES_MS)]
