"""The Dramatiq broker: what an application imports in RedisBroker's place."""

from __future__ import annotations

import functools
import hashlib
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import redis
from dramatiq import Actor, Message, Middleware, Worker
from dramatiq.broker import Consumer
from dramatiq.errors import QueueJoinTimeout
from dramatiq.middleware import Retries

from ..logs.foreign_text import safe_repr
from ..retention import Retention
from . import keys, records
from .client.adding import Added, Adder
from .client.finder import Finder
from .client.link import CallerLinks
from .client.operations import OperationBook
from .client.packed_job import PackedJob
from .client.permissions import RefusedCommand, refused_commands
from .client.pools import client_of, own_pool
from .client.queue_view import QueueView
from .client.record_check import unreadable_records
from .client.server import RedisServer
from .client.slots import ScheduleBook
from .client.steps import Found, Steps, run, run_together
from .client.totals import Totals, read_totals
from .errors import BadOption, Cancelled, PermanentError, QueueNotDeclared, WrongKeyType
from .queue_options import QueueOptions
from .records.unreadable import Unreadable
from .signals import SignallingBroker, emit_each
from .worker.backoff import RetryDelay, delay_of_retry, silence_delays
from .worker.broken import end_process, stop_worker
from .worker.consumer import JobConsumer
from .worker.hooks import Hooks
from .worker.interrupts import guarded
from .worker.lease import CURRENT, Lease
from .worker.session import Session
from .worker.sessions import Sessions, forget_worker
from .worker.steady_log import get_logger, steady
from .worker.watch import Failure
from .worker.work_queue import WorkQueue

logger = get_logger("nomad_actors.broker")

#: A worker that was not heard of for this long is gone.
LEASE_MS = 15_000
#: Below this a busy garbage collector would be taken for a death.
MIN_LEASE_MS = 200

#: The brokers of this process: a child that is forked has none of their workers.
_BROKERS: weakref.WeakSet[JobBroker] = weakref.WeakSet()


class JobBroker(SignallingBroker):
    """A broker on Redis with strict priorities, states, leases and no polling.

    Takes RedisBroker's arguments. `maintenance_chance`, `heartbeat_timeout` and `dead_message_ttl` are accepted so that
    an application moves by changing one import; nothing here is left to chance, and they have no effect.

    Parameters:
      retry_delay: called with the message, the attempts made and the delay (ms) that Retries chose; returns the delay.
      shutdown_ms: how long a stopping Worker lets jobs finish before they are given back; None leaves that to
        the timeout of `Worker.stop`.
      lease_ms: a worker that was not heard of for this long is gone, and its jobs start again; the same everywhere.
      retention: how many ended jobs each queue keeps, and for how long; a queue may be declared with its own.
      client, connection_pool: the pool's class, its bound and the settings of its connections are kept, in pools of
        the broker's own. The bound is for callers; a worker has two connections beside it.
      caller_deadline_ms: how long a caller's command may take before it ends in `RedisUnavailable`; None allows four
        tries of 5 s.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        middleware: list[Middleware] | None = None,
        namespace: str = "nomad",
        maintenance_chance: int | None = None,
        heartbeat_timeout: int | None = None,
        dead_message_ttl: int | None = None,
        client: redis.Redis | None = None,
        retry_delay: RetryDelay | None = None,
        shutdown_ms: int | None = None,
        lease_ms: int = LEASE_MS,
        retention: Retention | None = None,
        caller_deadline_ms: int | None = None,
        **parameters: Any,
    ) -> None:
        if not namespace or set("{}") & set(namespace):
            raise ValueError(f"namespace {namespace!r} must be some text without braces")
        if lease_ms < MIN_LEASE_MS:
            raise ValueError(f"lease_ms {safe_repr(lease_ms, 200)} is too short (accepted: {MIN_LEASE_MS} or more)")
        self.retry_delay = retry_delay
        super().__init__(middleware=middleware)
        self.queues: dict[str, QueueOptions] = {}
        #: The fields of an actor's keyword arguments that its jobs can be found by.
        self.actor_options.add("indexed")
        self.client = client_of(url, client, parameters)
        self.namespace = namespace
        self.shutdown_ms = shutdown_ms
        self.lease_ms = lease_ms
        self.retention = retention or Retention()
        self._pool = own_pool(self.client.connection_pool)
        self._links = CallerLinks(
            self._pool, deadline_seconds=None if caller_deadline_ms is None else caller_deadline_ms / 1000
        )
        self._adder = Adder(self._links, self._base)
        self._sessions = Sessions(self._new_session)
        _BROKERS.add(self)

    # Declaring.

    def add_middleware(
        self,
        middleware: Middleware,
        *,
        before: type[Middleware] | None = None,
        after: type[Middleware] | None = None,
    ) -> None:
        """Add middleware, at the end or beside that of a class."""
        super().add_middleware(middleware, before=before, after=after)
        steady(middleware)
        if isinstance(middleware, Retries):
            silence_delays(middleware, lambda: self.retry_delay is not None)

    def declare_queue(
        self,
        queue_name: str,
        *,
        concurrency: int | None = None,
        limit: int | None = None,
        retention: Retention | None = None,
    ) -> None:
        """Declare a queue, or change how many of its jobs run at a time: in a process, and over all hosts.

        The limit over all hosts and the retention are written to Redis by the workers that serve the queue.
        """
        declared = QueueOptions(concurrency, limit, retention)
        if queue_name in self.queues:
            self.queues[queue_name] = self.queues[queue_name].changed_by(declared)
            return
        self.emit_before("declare_queue", queue_name)
        self.queues[queue_name] = declared
        self.emit_after("declare_queue", queue_name)

    def declare_actor(self, actor: Actor[Any, Any]) -> None:
        """Declare an actor: its jobs can be cancelled, and a `PermanentError` is not retried."""
        thrown = actor.options.get("throws") or ()
        throws = (*(thrown if isinstance(thrown, tuple) else (thrown,)), PermanentError, Cancelled)
        actor.fn = guarded(actor.fn, throws)
        actor.options["throws"] = throws
        super().declare_actor(actor)

    # Enqueueing.

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Add a message to its queue, `delay` ms from now; there is no upper limit.

        Inside middleware that runs after an actor it is noted and sent with the job's end, so that neither is lost
        without the other.

        With `unique_key` in its options a job that holds the key may stand in its place: what is returned has its id,
        and middleware is told of no job that was enqueued.

        Raises `RedisUnavailable` when Redis does not take it, `BadPriority` and `BadOption` for an unusable option,
        `QueueFull`.
        """
        lease = CURRENT.get()
        delay_ms = max(0, int(delay or 0))
        self.emit_before("enqueue", message, delay)
        if lease is not None and lease.collecting:
            message = self._note(lease, message, delay_ms)
            if message.message_id == lease.job_id:
                delay = lease.retry_delay_ms
        else:
            (added,) = self._adder.add([self._new_job(message, delay_ms, call=os.urandom(8))])
            if added.job_id != message.message_id:
                message = message.copy(message_id=added.job_id)
            if not added.new:
                return message
        self.emit_after("enqueue", message, delay)
        return message

    def enqueue_many(self, messages: Iterable[tuple[Message[Any], int]], *, once: bool = False) -> list[Added]:
        """Add messages with their delays (ms) in a few round trips; return what became of each.

        Those of one queue are added all or not at all; a repeat of the call after an error doubles nothing that waits.
        With `once`, an id that the queue knows is left alone in whatever state it is, also when it has ended.

        Raises as `enqueue`.
        """
        listed = list(messages)
        emit_each(self, "before_enqueue", self.middleware, listed)
        calls = os.urandom(8 * len(listed))
        jobs = [self._one_of(listed, n, once=once, call=calls[8 * n : 8 * n + 8]) for n in range(len(listed))]
        added = self._adder.add(jobs)
        new = [each for each, its in zip(listed, added, strict=True) if its.new]
        emit_each(self, "after_enqueue", self.middleware[::-1], new)
        return added

    def _one_of(self, listed: Sequence[tuple[Message[Any], int]], number: int, *, once: bool, call: bytes) -> PackedJob:
        """Return one of several messages packed; an option that is refused says whose it is."""
        message, delay_ms = listed[number]
        try:
            return self._new_job(message, delay_ms, once=once, call=call)
        except BadOption as error:
            raise BadOption(f"jobs[{number}]: {error}" if len(listed) > 1 else str(error)) from error

    def prepare(self, message: Message[Any]) -> PackedJob:
        """Return a message as what a queue keeps, with what middleware puts on it; it is not enqueued.

        Raises as `enqueue`, but for Redis.
        """
        self.emit_before("enqueue", message, 0)
        return self._new_job(message, 0, call=os.urandom(8))

    def _new_job(self, message: Message[Any], delay_ms: int, *, call: bytes, once: bool = False) -> PackedJob:
        actor = self.actors.get(message.actor_name)
        # Calls that derive their number from the id are the same call, whoever makes them.
        if once:
            call = hashlib.blake2b(message.message_id.encode(), digest_size=8).digest()
        return PackedJob.of(message, call=call, actor=actor, delay_ms=delay_ms)

    def _note(self, lease: Lease, message: Message[Any], delay_ms: int) -> Message[Any]:
        actor = self.actors.get(message.actor_name)
        if message.message_id == lease.job_id:
            if self.retry_delay is not None:
                delay_ms = delay_of_retry(self.retry_delay, message, lease.attempt, delay_ms)
            lease.retry_delay_ms = delay_ms
            lease.retry_body = records.pack_body(message)
            return message
        return lease.note(message, actor=actor, delay_ms=delay_ms)

    # Consuming.

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30_000) -> Consumer:
        """Return an iterator over the queue's jobs; `prefetch` bounds it only outside a Worker.

        Raises `QueueNotDeclared`, and `WorkerStopped` for a Worker that has stopped.
        """
        if queue_name not in self.queues:
            declared = ", ".join(sorted(self.queues)) or "none"
            raise QueueNotDeclared(f"queue {queue_name!r} is not declared (declared: {declared})")
        session = self._sessions.of_thread(threads=prefetch)
        options = self.queues[queue_name]
        places = options.concurrency or session.threads
        return JobConsumer(
            session,
            queue_name,
            places=places,
            limit=options.limit,
            retention=options.retention or self.retention,
            timeout_ms=timeout,
        )

    @property
    def _session(self) -> Session | None:
        return self._sessions.latest

    def _new_session(
        self,
        threads: int,
        work_queue: WorkQueue | None,
        replace_dead_threads: Callable[[], None],
        worker: Worker | None,
    ) -> Session:
        return Session(
            pool=self._pool,
            base_of=self._base,
            threads=threads,
            lease_ms=self.lease_ms,
            knows_actor=self.actors.__contains__,
            work_queue=work_queue,
            hooks=self._new_hooks(),
            broker=self,
            replace_dead_threads=replace_dead_threads,
            broken=functools.partial(self._on_broken, worker),
        )

    def _new_hooks(self) -> Hooks:
        # One for each thread that calls hooks: each Worker of this process has a pump of its own.
        return Hooks(lambda: reversed(self.middleware))

    def _base(self, queue_name: str) -> str:
        return keys.base(self.namespace, queue_name)

    # Ending.

    def _on_broken(self, worker: Worker | None, session: Session, failure: Failure) -> None:
        """End a worker that cannot go on: its process, where Dramatiq's command line has made that for it alone."""
        what = "the process ends" if self._has_own_process else "it stops"
        what = "nothing more is consumed" if worker is None else what
        logger.critical("this worker cannot go on: %s; %s", failure.reason, what, exc_info=failure.error)
        self._new_hooks().call("after_worker_broken", self, failure)
        if worker is not None and self._has_own_process:
            end_process(functools.partial(self.emit_after, "worker_shutdown", worker))
        elif worker is not None:
            stop_worker(worker, session)

    def _forked(self) -> None:
        """Forget the workers of the process that this one was forked from."""
        self._sessions.forget()
        forget_worker(self, None)

    def close(self) -> None:
        """Give back what this process holds and close its connections."""
        self._sessions.close()
        self._links.close()
        self._pool.disconnect()

    # Looking.

    def view(self, queue_name: str) -> QueueView:
        """Return a queue as an operator sees it; it need not be declared here."""
        return QueueView(self._links, self._base(queue_name), queue_name)

    def read(self, reading: Steps[Found]) -> Found:
        """Make one reading; see `client.steps`.

        Raises `RedisUnavailable`.
        """
        return run(self._links, reading)

    def totals(self, queue_names: Iterable[str]) -> dict[str, Totals]:
        """Return how many runs of each queue's actors ever ended, by outcome, in one round trip.

        Raises `RedisUnavailable`.
        """
        return read_totals(self._links, {name: self._base(name) for name in queue_names})

    def read_together(self, readings: Sequence[Steps[Found]]) -> list[Found | WrongKeyType]:
        """Make readings side by side, in as many round trips as the longest of them takes.

        Raises `RedisUnavailable`.
        """
        return run_together(self._links, readings)

    def unreadable_records(
        self, queue_names: Iterable[str], schedules: Mapping[str, Sequence[str]]
    ) -> list[Unreadable]:
        """Return what Redis holds of these queues and cannot be read; `schedules` are the names of each queue's.

        Raises `RedisUnavailable`.
        """
        bases = {name: self._base(name) for name in queue_names}
        return unreadable_records(self._links, bases, self.namespace, schedules)

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """Give all that this thread asks of Redis inside a `with` no more than `seconds`: see `CallerLinks.within`."""
        return self._links.within(seconds)

    def finder(self, queue_name: str) -> Finder:
        """Return what finds a queue's jobs."""
        return Finder(self._links, self._base(queue_name), self.view(queue_name))

    def operations(self, queue_name: str) -> OperationBook:
        """Return the bulk operations that are kept beside a queue."""
        return OperationBook(self._links, self._base(queue_name))

    def schedules(self) -> ScheduleBook:
        """Return the schedules that are kept beside the queues."""
        return ScheduleBook(self._links, self._base, self.namespace)

    def server(self) -> RedisServer:
        """Return the Redis server itself, to be asked how it is."""
        return RedisServer(self._links)

    def refused_commands(self) -> list[RefusedCommand]:
        """Return the commands that we need and Redis refuses us, since our user may not run them or they were renamed.

        Raises `RedisUnavailable`.
        """
        return refused_commands(self._links, self._base("nomad-probe"))

    def ping(self) -> None:
        """Return when Redis answers.

        Raises `RedisUnavailable` when it does not.
        """
        self._links.run([("PING",)])

    def flush(self, queue_name: str) -> None:
        """Drop all of a queue's jobs."""
        self.view(queue_name).flush()

    def flush_all(self) -> None:
        """Drop all jobs of all declared queues."""
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Wait until nothing of the queue waits, is delayed or runs; `timeout` in ms.

        Raises `QueueJoinTimeout`.
        """
        if not self.view(queue_name).wait_empty(timeout_ms=timeout):
            raise QueueJoinTimeout(queue_name)


def _after_fork() -> None:
    for broker in _BROKERS:
        broker._forked()


os.register_at_fork(after_in_child=_after_fork)
