"""The Dramatiq broker: what an application imports in RedisBroker's place."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import redis
from dramatiq import Actor, Broker, Message, Middleware, Worker
from dramatiq.broker import Consumer
from dramatiq.common import q_name
from dramatiq.errors import QueueJoinTimeout
from dramatiq.middleware import MiddlewareError, Retries

from ..clock import mono_ms
from ..logs.foreign_text import came_from_outside, class_name, safe_repr
from . import keys, records
from .client.adding import Added, Adder
from .client.finder import Finder
from .client.link import CallerLinks
from .client.new_job import NewJob
from .client.operations import OperationBook
from .client.permissions import RefusedCommand, refused_commands
from .client.pools import own_pool
from .client.queue_view import QueueView
from .client.record_check import unreadable_records
from .client.server import RedisServer
from .client.slots import ScheduleBook
from .client.standings import Standing, read_standings
from .client.totals import Totals, read_totals
from .errors import Cancelled, PermanentError, QueueNotDeclared
from .records.unreadable import Unreadable
from .retention import Retention
from .worker.backoff import RetryDelay, delay_of_retry, silence_delays
from .worker.broken import end_process, stop_worker
from .worker.consumer import JobConsumer
from .worker.hooks import Hooks
from .worker.interrupts import current_greenlet, guarded
from .worker.lease import CURRENT, Lease
from .worker.message import LeasedMessage, time_limit_ms
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

#: Signals of a worker's threads: what middleware raises then must not end the thread.
_OF_THREADS = frozenset(
    {
        *("process_message", "skip_message", "ack", "nack"),
        *("consumer_thread_boot", "consumer_thread_shutdown", "worker_thread_boot", "worker_thread_shutdown"),
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class QueueOptions:
    """What was declared of a queue: jobs at a time a process (None uses every thread) and over all hosts."""

    concurrency: int | None = None
    limit: int | None = None
    retention: Retention | None = None


class JobBroker(Broker):
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
        if client is None:
            if url and "connection_pool" in parameters:
                raise ValueError("url and connection_pool both name a Redis (accepted: one of them)")
            client = redis.Redis.from_url(url, **parameters) if url else redis.Redis(**parameters)
        if not isinstance(getattr(client, "connection_pool", None), redis.ConnectionPool):
            raise ValueError(f"client is a {class_name(client)} (accepted: a redis.Redis with a connection pool)")
        self.client = client
        self.namespace = namespace
        self.shutdown_ms = shutdown_ms
        self.lease_ms = lease_ms
        self.retention = retention or Retention()
        self._pool = own_pool(client.connection_pool)
        self._links = CallerLinks(
            self._pool, deadline_seconds=None if caller_deadline_ms is None else caller_deadline_ms / 1000
        )
        self._adder = Adder(self._links, self._base)
        self._sessions = Sessions(self._new_session)
        #: Whether Dramatiq's command line has made this process for one Worker alone.
        self._has_own_process = False
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
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = QueueOptions(concurrency, limit, retention)
            self.emit_after("declare_queue", queue_name)
        else:
            known = self.queues[queue_name]
            self.queues[queue_name] = QueueOptions(
                concurrency or known.concurrency, limit or known.limit, retention or known.retention
            )

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
        self._emit_each("before_enqueue", self.middleware, listed)
        calls = os.urandom(8 * len(listed))
        jobs = [self._new_job(m, d, once=once, call=calls[8 * i : 8 * i + 8]) for i, (m, d) in enumerate(listed)]
        added = self._adder.add(jobs)
        new = [each for each, its in zip(listed, added, strict=True) if its.new]
        self._emit_each("after_enqueue", self.middleware[::-1], new)
        return added

    def _emit_each(self, signal: str, middleware: Sequence[Middleware], listed: Sequence[tuple[Any, ...]]) -> None:
        """Emit a signal for many messages to the middleware that listens to it; what one raises stops no other hook.

        Most do not, and to call each of them in vain took a sixth of the time of adding many jobs.
        """
        silent = getattr(Middleware, signal)
        listening = [getattr(each, signal) for each in middleware if getattr(type(each), signal) is not silent]
        for message, delay_ms in listed:
            for listener in listening:
                try:
                    listener(self, message, delay_ms)
                except BaseException as error:
                    is_refusal = signal.startswith("before") and issubclass(type(error), MiddlewareError)
                    if is_refusal or came_from_outside(error):
                        raise
                    self.logger.critical("Unexpected failure in %s of %r.", signal, listener, exc_info=True)

    def prepare(self, message: Message[Any]) -> NewJob:
        """Return a message as what a queue keeps, with what middleware puts on it; it is not enqueued.

        Raises as `enqueue`, but for Redis.
        """
        self.emit_before("enqueue", message, 0)
        return self._new_job(message, 0, call=os.urandom(8))

    def _new_job(self, message: Message[Any], delay_ms: int, *, call: bytes, once: bool = False) -> NewJob:
        actor = self.actors.get(message.actor_name)
        # Calls that derive their number from the id are the same call, whoever makes them.
        if once:
            call = hashlib.blake2b(message.message_id.encode(), digest_size=8).digest()
        return NewJob.of(message, call=call, actor=actor, delay_ms=delay_ms)

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

    # Signals: where Dramatiq tells us what its Worker does.

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Dispatch a signal; a worker's boot and shutdown and a job's beginning are ours too."""
        if signal == "process_message" and isinstance(args[0], LeasedMessage):
            lease = args[0].lease
            lease.thread, lease.began_mono_ms = threading.current_thread(), mono_ms()
            lease.greenlet = current_greenlet()
            CURRENT.set(lease)
        elif signal in ("ack", "nack") and isinstance(args[0], LeasedMessage):
            self._make_up_for_lost_end(args[0])
        elif signal == "worker_boot":
            self._boot(args[0])
        if signal in _OF_THREADS and signal != "process_message":
            self._emit_steadily(self.middleware, f"before_{signal}", *args, **kwargs)
        elif signal == "enqueue":
            self._emit_each("before_enqueue", self.middleware, [args])
        else:
            # What stops a job from running is its end, whatever that is.
            super().emit_before(signal, *args, **kwargs)
        if signal == "worker_shutdown":
            self._sessions.stop_taking(self, args[0], self.shutdown_ms)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Dispatch a signal; what middleware enqueues after an actor is collected for the settling."""
        if signal in ("process_message", "skip_message") and isinstance(args[0], LeasedMessage):
            message, lease = args[0], args[0].lease
            if signal == "skip_message":
                message.skipped, lease.skip = True, sys.exception()
            lease.collecting, lease.time_limit_ms = True, time_limit_ms(self, message)
            try:
                self._emit_steadily(self.middleware[::-1], f"after_{signal}", *args, **kwargs)
            finally:
                lease.collecting = False
                message.over = True
        elif signal in _OF_THREADS or signal == "enqueue":
            self._emit_steadily(self.middleware[::-1], f"after_{signal}", *args, **kwargs)
        else:
            super().emit_after(signal, *args, **kwargs)
        if signal == "worker_shutdown":
            self._sessions.end(args[0])
        elif signal == "process_boot":
            self._has_own_process = True

    def _make_up_for_lost_end(self, message: LeasedMessage) -> None:
        """Dispatch the end of a run that was cut off before it: a log handler raised, or an interrupt struck."""
        if message.exception is not None and not message.over:
            self.emit_after("process_message", message, exception=message.exception)

    def _emit_steadily(self, middleware: Sequence[Middleware], hook: str, *args: Any, **kwargs: Any) -> None:
        """Call a hook of each middleware; what one raises, `sys.exit` too, ends no thread and stops no other hook."""
        for each in middleware:
            try:
                getattr(each, hook)(self, *args, **kwargs)
            except BaseException as error:
                if came_from_outside(error):
                    raise
                logger.critical("Unexpected failure in %s of %s.", hook, class_name(each), exc_info=True)

    def _boot(self, worker: Worker) -> None:
        self._sessions.boot(worker)
        served = {q_name(name) for name in (worker.consumer_whitelist or self.queues)}
        limits = [options.concurrency for name, options in self.queues.items() if name in served]
        places = sum(limit for limit in limits if limit)
        if places > worker.worker_threads:
            logger.warning(
                "%d threads for %d places of the queues served: some places stay unused",
                worker.worker_threads,
                places,
            )

    def _on_broken(self, worker: Worker | None, session: Session, failure: Failure) -> None:
        """End a worker that cannot go on: its process, where Dramatiq's command line has made that for it alone."""
        what = "the process ends" if self._has_own_process else "it stops"
        what = "nothing more is consumed" if worker is None else what
        logger.critical("this worker cannot go on: %s; %s", failure.reason, what, exc_info=failure.error)
        self._new_hooks().call("after_worker_broken", self, failure)
        if worker is None:
            return
        if self._has_own_process:
            end_process(functools.partial(self.emit_after, "worker_shutdown", worker))
        else:
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

    def standings(self, queue_names: Iterable[str]) -> dict[str, Standing]:
        """Return how queues stand, in two round trips.

        Raises `RedisUnavailable`.
        """
        return read_standings(self._links, {name: self._base(name) for name in queue_names})

    def totals(self, queue_names: Iterable[str]) -> dict[str, Totals]:
        """Return how many runs of each queue's actors ever ended, by outcome, in one round trip.

        Raises `RedisUnavailable`.
        """
        return read_totals(self._links, {name: self._base(name) for name in queue_names})

    def unreadable_records(self, queue_names: Iterable[str]) -> list[Unreadable]:
        """Return what Redis holds of these queues and cannot be read.

        Raises `RedisUnavailable`.
        """
        return unreadable_records(self._links, {name: self._base(name) for name in queue_names}, self.schedules())

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
        return RedisServer(self._links, self._base)

    def refused_commands(self) -> list[RefusedCommand]:
        """Return the commands that we need and Redis refuses us, since our user may not run them or they were renamed.

        Raises `RedisUnavailable`.
        """
        return refused_commands(self._links, self._base("nomad-probe"))

    def ping(self) -> None:
        """Return when Redis answers.

        Raises `RedisUnavailable` when it does not.
        """
        self._links.commands([("PING",)])

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
