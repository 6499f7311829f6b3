"""The Dramatiq broker that an application imports instead of RedisBroker."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
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
from .client.server import ServerFacts, read_server
from .client.slots import ScheduleBook
from .client.steps import Found, Steps, run, run_together
from .errors import BadOption, Cancelled, PermanentError, QueueNotDeclared, WrongKeyType
from .records.stats import Totals, unpack_totals
from .records.unreadable import Unreadable
from .signals import SignallingBroker, emit_each
from .worker.backoff import RetryDelay, delay_of_retry, silence_delays
from .worker.consumer import JobConsumer
from .worker.hooks import Hooks
from .worker.interrupts import guarded
from .worker.lease import CURRENT, Lease
from .worker.queue_state import QueueOptions
from .worker.session import Session
from .worker.sessions import Sessions, forget_worker
from .worker.steady_log import get_logger, steady
from .worker.watch import Failure, end_process, stop_worker

logger = get_logger("nomad_actors.broker")

#: A worker that sent no heartbeat for this long is lost.
LEASE_MS = 15_000
#: With less, a long garbage collection would look like a lost worker.
MIN_LEASE_MS = 200

#: The brokers of this process. A forked child has none of their workers.
_BROKERS: weakref.WeakSet[JobBroker] = weakref.WeakSet()


class JobBroker(SignallingBroker):
    """A broker on Redis with strict priorities, states and leases, without polling.

    What reads from Redis or writes to it raises `RedisUnavailable` if Redis does not take the command.

    It takes RedisBroker's arguments. `maintenance_chance`, `heartbeat_timeout` and `dead_message_ttl` have no effect:
    they are accepted so that an application can switch by changing one import.

    Parameters:
      retry_delay: called with the message, the attempts made and the delay (ms) that Retries chose; returns the delay.
      shutdown_ms: how long a stopping Worker lets jobs finish before it returns them to the queue; None leaves that to
        the timeout of `Worker.stop`.
      lease_ms: a worker that sent no heartbeat for this long is lost, and its jobs start again. Use one value in all
        processes.
      retention: how many ended jobs each queue keeps, and for how long; a queue can be declared with its own retention.
      client, connection_pool: the broker makes pools of the same class, with the same maximum of connections and the
        same connection settings. The maximum applies to callers; a worker has two more connections.
      caller_deadline_ms: how long a caller's command may take before it raises `RedisUnavailable`; None allows four
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
            raise ValueError(f"namespace {namespace!r} must not be empty or contain braces")
        if lease_ms < MIN_LEASE_MS:
            raise ValueError(f"lease_ms {safe_repr(lease_ms, 200)} is too short (allowed: {MIN_LEASE_MS} or more)")
        self.retry_delay = retry_delay
        super().__init__(middleware=middleware)
        self.queues: dict[str, QueueOptions] = {}
        #: The keyword arguments of an actor by which its jobs can be found.
        self.actor_options.add("indexed")
        self.client = client_of(url, client, parameters)
        self.namespace = namespace
        self.shutdown_ms = shutdown_ms
        self.lease_ms = lease_ms
        self.retention = retention or Retention()
        self._pool = own_pool(self.client.connection_pool)
        deadline_seconds = float("inf") if caller_deadline_ms is None else caller_deadline_ms / 1000
        self._links = CallerLinks(self._pool, deadline_seconds)
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
        """Declare a queue, or change its options: how many of its jobs run at a time per process and over all hosts.

        Workers that serve the queue write the limit over all hosts and the retention to Redis.
        """
        declared = QueueOptions(concurrency, limit, retention)
        if queue_name in self.queues:
            self.queues[queue_name] = self.queues[queue_name].changed_by(declared)
            return
        self.emit_before("declare_queue", queue_name)
        self.queues[queue_name] = declared
        self.emit_after("declare_queue", queue_name)

    def declare_actor(self, actor: Actor[Any, Any]) -> None:
        """Declare an actor whose jobs can be cancelled and fail without a retry on `PermanentError`."""
        thrown = actor.options.get("throws") or ()
        throws = (*(thrown if isinstance(thrown, tuple) else (thrown,)), PermanentError, Cancelled)
        actor.fn = guarded(actor.fn, throws)
        actor.options["throws"] = throws
        super().declare_actor(actor)

    # Enqueueing.

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Add a message to its queue, to start `delay` ms from now or later; the delay has no upper limit.

        A message that middleware enqueues after an actor has run is sent in the same script as the job's settlement, so
        that neither is lost without the other.

        If another job already has the message's `unique_key`, nothing is added: the returned message has that job's id,
        and `after_enqueue` is not called.

        Raises `RedisUnavailable` if Redis does not take it, `BadPriority` or `BadOption` for an invalid option, and
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
        """Add messages with their delays (ms) in a few round trips; return the result of each.

        The messages of one queue are added all or not at all. After an error the call can be repeated: a waiting job is
        not added twice. With `once`, a job that the queue already has stays as it is in every state, even if it ended.

        Raises the same errors as `enqueue`.
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
        message, delay_ms = listed[number]
        try:
            return self._new_job(message, delay_ms, once=once, call=call)
        except BadOption as error:
            raise BadOption(f"jobs[{number}]: {error}" if len(listed) > 1 else str(error)) from error

    def prepare(self, message: Message[Any]) -> PackedJob:
        """Return a message as a queue stores it, with the options that middleware adds, without enqueueing it.

        Raises `BadPriority` or `BadOption` for an invalid option.
        """
        self.emit_before("enqueue", message, 0)
        return self._new_job(message, 0, call=os.urandom(8))

    def _new_job(self, message: Message[Any], delay_ms: int, *, call: bytes, once: bool = False) -> PackedJob:
        actor = self.actors.get(message.actor_name)
        # With an id of its own as its number, the call is the same call whoever makes it.
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
        """Return an iterator over the queue's jobs; `prefetch` limits it only outside a Worker.

        Raises `QueueNotDeclared`, and `WorkerStopped` for a Worker that has stopped.
        """
        if queue_name not in self.queues:
            declared = ", ".join(sorted(self.queues)) or "none"
            raise QueueNotDeclared(f"queue {queue_name!r} is not declared (declared: {declared})")
        session = self._sessions.of_thread(threads=prefetch)
        options = self.queues[queue_name]
        options = dataclasses.replace(options, retention=options.retention or self.retention)
        return JobConsumer(session, queue_name, options, timeout_ms=timeout)

    @property
    def _session(self) -> Session | None:
        return self._sessions.latest

    def _new_session(self, worker: Worker | None, threads: int) -> Session:
        return Session(
            pool=self._pool,
            base_of=self._base,
            threads=threads,
            lease_ms=self.lease_ms,
            knows_actor=self.actors.__contains__,
            worker=worker,
            hooks=Hooks(self),
            broken=self._on_broken,
        )

    def _base(self, queue_name: str) -> str:
        return keys.base(self.namespace, queue_name)

    # Ending.

    def _on_broken(self, session: Session, failure: Failure) -> None:
        """End a worker that cannot go on; under Dramatiq's command line, where it has its own process, end that."""
        worker = session.worker
        consequence = "the process ends" if self._has_own_process else "it stops"
        consequence = "nothing more is consumed" if worker is None else consequence
        logger.critical("this worker cannot go on: %s; %s", failure.reason, consequence, exc_info=failure.error)
        Hooks(self).call("after_worker_broken", failure)
        if worker is not None and self._has_own_process:
            end_process(functools.partial(self.emit_after, "worker_shutdown", worker))
        elif worker is not None:
            stop_worker(worker, session)

    def close(self) -> None:
        """Return the jobs that this process holds to their queues, and close its connections."""
        self._sessions.close()
        self._links.close()
        self._pool.disconnect()

    # Reading.

    def view(self, queue_name: str) -> QueueView:
        """Return an operator's view of a queue; the queue need not be declared here."""
        return QueueView(self._links, self._base(queue_name), queue_name)

    def read(self, reading: Steps[Found]) -> Found:
        """Run one reading; see `client.steps`."""
        return run(self._links, reading)

    def totals(self, queue_names: Iterable[str]) -> dict[str, Totals]:
        """Return how many runs of each queue's actors have ended so far, by outcome, in one round trip."""
        names = list(queue_names)
        replies = self._links.attempt([("HGETALL", keys.TOTALS.of(self._base(name))) for name in names])
        # A key of another type has no totals, which does not affect the other queues.
        readable = {name: reply for name, reply in zip(names, replies, strict=True) if isinstance(reply, list)}
        return {name: unpack_totals(reply) for name, reply in readable.items()}

    def read_together(self, readings: Sequence[Steps[Found]]) -> list[Found | WrongKeyType]:
        """Run readings together, in as many round trips as the longest of them takes."""
        return run_together(self._links, readings)

    def unreadable_records(
        self, queue_names: Iterable[str], schedules: Mapping[str, Sequence[str]]
    ) -> list[Unreadable]:
        """Return the invalid records of these queues in Redis; `schedules` has the names of each queue's schedules."""
        bases = {name: self._base(name) for name in queue_names}
        return unreadable_records(self._links, bases, self.namespace, schedules)

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """Limit all Redis commands of this thread inside a `with` to `seconds` in all: see `CallerLinks.within`."""
        return self._links.within(seconds)

    def finder(self, queue_name: str) -> Finder:
        return Finder(self._links, self._base(queue_name), self.view(queue_name))

    def operations(self, queue_name: str) -> OperationBook:
        return OperationBook(self._links, self._base(queue_name))

    def schedules(self) -> ScheduleBook:
        return ScheduleBook(self._links, self._base, self.namespace)

    def server(self) -> ServerFacts:
        """Read what the Redis server reports about itself."""
        return read_server(self._links)

    def refused_commands(self) -> list[RefusedCommand]:
        """Return the commands that the broker needs and Redis refuses: not permitted, renamed or missing."""
        return refused_commands(self._links, self._base("nomad-probe"))

    def ping(self) -> None:
        """Check that Redis replies."""
        self._links.run([("PING",)])

    def flush(self, queue_name: str) -> None:
        self.view(queue_name).flush()

    def flush_all(self) -> None:
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Wait until the queue has no waiting, delayed or active job; `timeout` is in ms. Raises `QueueJoinTimeout`."""
        if not self.view(queue_name).wait_empty(timeout_ms=timeout):
            raise QueueJoinTimeout(queue_name)


def _after_fork() -> None:
    for broker in _BROKERS:
        broker._sessions.forget()
        forget_worker(broker, None)


os.register_at_fork(after_in_child=_after_fork)
