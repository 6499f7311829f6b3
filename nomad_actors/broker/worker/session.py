"""The session of one worker with Redis: its leases, free slots, settlements and reconnects.

All state between two commands is here and not in a Consumer, which Dramatiq may replace at any time. One thread, the
pump, owns this state and talks to Redis. Other threads put calls into its mailbox, which is one atomic step and safe
even if an exception is raised in the thread from outside. A second thread, the waiter, blocks in Redis until there is
work (`waiter`).

In each round the pump reads the mailbox, settles ended runs, requests as many jobs as can start now (each needs a free
slot of its queue and a free thread) and passes them to threads (`exchange`). Ended runs are reported while Redis works
on the next round, so that no job waits for a log line. No job is fetched in advance. Runs that end during a round are
settled in the next, so settlements are batched when there is much to do.
"""

from __future__ import annotations

import functools
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import redis
from dramatiq import Worker

from ...logs.foreign_text import describe_error
from ...version import __version__
from ..client.link import LINK_ERRORS, Link, backoff_seconds, describe
from ..client.pools import FOR_ONE, own_pool
from .exchange import Exchange
from .heartbeat import Heartbeats
from .held_jobs import HeldJobs, cancel
from .hooks import Hooks
from .lease import Lease, Settlement
from .message import LeasedMessage
from .queue_state import QueueOptions, QueueState
from .reporting import Reporting
from .settling import REPORT_SECONDS, Settling
from .starting import Starting
from .steady_log import get_logger
from .waiter import Waiter
from .watch import Failure, Watch

logger = get_logger("nomad_actors.broker.worker.session")

#: How long a session that closes tries to tell Redis.
CLOSE_SECONDS = 5.0
#: The pump gives up after every round has failed for this long for another reason than a lost Redis.
HOPELESS_SECONDS = 60.0
#: How often waiting threads are woken while the worker stops.
STOPPING_TURN_SECONDS = 0.2


class Session:
    """A session with Redis: of a Worker, created when it boots, or of consumers outside one (`worker` is None)."""

    def __init__(
        self,
        *,
        pool: redis.ConnectionPool,
        base_of: Callable[[str], str],
        threads: int,
        lease_ms: int,
        knows_actor: Callable[[str], bool],
        worker: Worker | None,
        hooks: Hooks,
        broken: Callable[[Session, Failure], None],
    ) -> None:
        self.worker = worker
        self.pid = os.getpid()
        self.worker_id = os.urandom(8)
        self.name = f"{socket.gethostname()}:{self.pid}@{__version__}"
        self._lease_ms = lease_ms
        self._base_of = base_of
        # Not from the application's pool: its jobs enqueue while this settles, and neither may wait for the other.
        self._link = Link(own_pool(pool, max_connections=FOR_ONE))
        self._settling = Settling(worker=self.name, base_of=base_of, hooks=hooks)
        self._held = HeldJobs(self.worker_id, self.name, threads=threads, worker=worker, settling=self._settling)
        self._waiter = Waiter(
            pool,
            self.worker_id,
            on_work=functools.partial(self._post, self._has_work),
            on_cancel=functools.partial(self._post, self._cancelled),
        )
        self._reporting = Reporting(base_of)
        self._starting = Starting(self._held, self._link, knows_actor=knows_actor, report=self.report)
        self._heartbeats = Heartbeats(self._held, lease_ms=lease_ms)
        self._exchange = Exchange(
            self._held,
            self._link,
            reporting=self._reporting,
            starting=self._starting,
            heartbeats=self._heartbeats,
            waiter=self._waiter,
        )
        #: The handlers that other threads ask the pump to call, with their arguments.
        self._mailbox: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = queue.SimpleQueue()
        self._closing: float | None = None
        self._tried = 0
        #: True after it was logged that Redis is lost, until it is logged that it is back.
        self._lost = False
        self._pump = threading.Thread(target=self._run, name="nomad-pump", daemon=True)
        #: Why this worker cannot go on; None while it can.
        self.failure: Failure | None = None
        self._cause: BaseException | None = None
        self._failing_since_mono: float | None = None
        #: Counts the pump's turns; `_idle` is True while it waits for something to do.
        self._turns = 0
        self._idle = False
        self._broken = broken
        self._watch = Watch(
            threads=lambda: (self._pump, self._waiter.thread),
            turn=lambda: None if self._idle else self._turns,
            cause=lambda: self._cause or self._waiter.cause,
            hooks=hooks,
            broken=self._on_broken,
        )
        self._started = threading.Lock()

    # Called by other threads; each call is one atomic step.

    @property
    def threads(self) -> int:
        """How many jobs may run at a time."""
        return self._held.threads

    def _post(self, handler: Callable[..., None], *arguments: Any) -> None:
        self._mailbox.put((handler, arguments))

    def attach(self, queue_name: str, options: QueueOptions) -> queue.SimpleQueue[LeasedMessage]:
        """Serve a queue; return where its leases arrive."""
        state = self._held.by_name.get(queue_name)
        if state is None:
            concurrency = options.concurrency or self.threads
            state = QueueState(queue_name, self._base_of(queue_name), concurrency, options)
            self._held.by_name[queue_name] = state
        self._post(self._attached, state)
        if self._started.acquire(blocking=False):
            self._pump.start()
        return state.inbox

    def detach(self, queue_name: str) -> None:
        """Stop serving a queue, and return its jobs that were handed out but have not begun."""
        self._post(self._detached, self._held.by_name[queue_name])

    def end(self, settlement: Settlement) -> None:
        self._post(self._held.end, settlement)

    def report(self, lease: Lease) -> None:
        self._post(self._reporting.add, lease)

    def stop_taking(self) -> None:
        """Start no more jobs, and return at once those that were handed out but have not begun."""
        self._post(self._held.stop_taking)

    def running(self) -> list[Lease]:
        """Return the leases that are held now, to interrupt them at a shutdown."""
        return self._held.leases()

    def release(self, leases: Iterable[Lease]) -> None:
        """Return leased jobs to their former positions without spending an attempt."""
        self._post(self._held.release, list(leases))

    def close(self) -> None:
        """Return held jobs, settle ended ones, and stop; gives up after 5 s if Redis is away."""
        self._watch.close()
        self._waiter.close()
        if not self._pump.is_alive():
            return
        self._post(self._closed)
        self._pump.join(CLOSE_SECONDS + 1)

    # The pump.

    def _run(self) -> None:
        try:
            self._waiter.start()
            self._watch.start()
            while not self._take_turn_steadily():
                self._turns += 1
        except BaseException as error:
            # The watch sees that this thread has ended, and ends the worker.
            self._cause = error
        finally:
            self._link.close()

    def _take_turn_steadily(self) -> bool:
        """Take a turn; an error in it does not end this thread, the only one of the process that settles."""
        try:
            is_last = self._take_turn()
            self._failing_since_mono = None
            return is_last
        except BaseException as error:
            now = time.monotonic()
            if self._failing_since_mono is None:
                self._failing_since_mono = now
            logger.critical("the broker's session failed in a round: %s", describe_error(error), exc_info=True)
            if now - self._failing_since_mono > HOPELESS_SECONDS:
                raise
            time.sleep(0.1 if now - self._failing_since_mono < 1 else 1.0)
            return False

    def _take_turn(self) -> bool:
        """Read the mailbox and run a round with Redis; return True after the last turn."""
        self._read_mailbox()
        if not self._held.taking and self._held.work_queue is not None:
            self._held.work_queue.wake(self._held.threads)
        if self._closing is not None and self._finished():
            return True
        self._round()
        return False

    def _on_broken(self, failure: Failure) -> None:
        self.failure = failure
        self._broken(self, failure)

    def _finished(self) -> bool:
        # Before leaving, which may take a while.
        self._settling.report()
        unsettled = len(self._settling)
        if not unsettled:
            try:
                self._exchange.leave()
            except LINK_ERRORS as error:
                logger.info("could not remove this worker from Redis: %s", describe(error))
            return True
        if self._closing is not None and time.monotonic() > self._closing:
            logger.error("gave up settling %d ended jobs: Redis is away", unsettled)
            return True
        return False

    def _round(self) -> None:
        try:
            if self._exchange.run_round() and self._lost:
                logger.info("Redis is back; jobs that ended meanwhile are settled")
                self._lost = False
            self._tried = 0
        except LINK_ERRORS as error:
            self._tried += 1
            if not self._lost:
                self._lost = True
                logger.warning("lost Redis: %s; ended jobs are settled when it is back", describe(error))
            self._settling.report()
            time.sleep(backoff_seconds(self._tried))

    # The mailbox.

    def _read_mailbox(self) -> None:
        idle_seconds = self._idle_seconds()
        if self._settling.unreported:
            idle_seconds = min(idle_seconds, REPORT_SECONDS)
        self._idle = True
        try:
            handler, arguments = self._mailbox.get(timeout=idle_seconds)
        except queue.Empty:
            self._idle = False
            self._settling.report()
            return
        self._idle = False
        while True:
            handler(*arguments)
            try:
                handler, arguments = self._mailbox.get_nowait()
            except queue.Empty:
                return

    def _idle_seconds(self) -> float:
        """Return how long there is nothing to do unless an event arrives."""
        now, held = time.monotonic(), self._held
        if len(self._settling) or self._tried or self._closing is not None or self._starting.can_ask(now):
            return 0.0
        wakes = [self._heartbeats.next_mono(state) for state in self._heartbeats.queues()]
        wakes += self._reporting.due_mono()
        if held.taking and held.free_threads() > 0:
            wakes += [state.due_mono for state in held.attached() if state.due_mono is not None and state.free > 0]
        if not held.taking:
            wakes.append(now + STOPPING_TURN_SECONDS)
        return max(0.0, min(wakes, default=now + self._lease_ms / 2000) - now)

    def _attached(self, state: QueueState) -> None:
        state.attached, state.asleep = True, False
        # Send a heartbeat in the first round: lost workers are noticed even if no process lives for a second one.
        state.beat_mono = 0.0

    def _detached(self, state: QueueState) -> None:
        state.attached = False
        self._held.return_inbox(state)

    def _cancelled(self, base: str, stored_id: bytes, reason: str) -> None:
        for state in self._held.queues():
            if state.base == base:
                cancel([lease for lease in state.held.values() if lease.stored_id == stored_id], reason)

    def _has_work(self, bases: Sequence[str]) -> None:
        for state in self._held.queues():
            if not bases or state.base in bases:
                state.asleep = False
                if bases and (state.free <= 0 or not self._held.taking):
                    # We took a token that another worker could use: return it.
                    self._exchange.unused_tokens.add(state.base)

    def _closed(self) -> None:
        self._closing = time.monotonic() + CLOSE_SECONDS
        self._held.stop_taking()
        self._held.release(self._held.leases())
