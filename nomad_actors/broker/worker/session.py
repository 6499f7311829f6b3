"""One worker process at Redis: its leases, its free places, its settlements, its reconnecting.

Everything that a process keeps between two commands lives here and not in a Consumer, which Dramatiq replaces at will.
One thread, the pump, owns all of it and speaks to Redis; everybody else puts a note into its mailbox, which is one
atomic step and safe against an exception that strikes from outside. A second thread, the waiter, blocks in Redis until
there is work (`waiter`).

A round of the pump: read the mailbox; settle what ended; ask for as many jobs as can start now, a free place of the
queue and a free thread each; hand them out. What ended is reported while Redis works on the next round, so that no
job waits for a log line. Nothing is fetched ahead. The next round carries what ended meanwhile, so
settlements travel in batches exactly when there is much to do.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import redis
from redis.exceptions import ResponseError

from ...logs.foreign_text import describe_error
from ...version import __version__
from .. import keys, records
from ..client.link import LINK_ERRORS, Call, Link, backoff_seconds, describe
from ..client.pools import FOR_ONE, own_pool
from ..endings import Ended, Outcome
from ..errors import Cancelled, UnreadableBody
from ..records.control import NUDGE
from ..redis_clock import boot_seconds
from ..retention import Retention
from . import heartbeat, interrupts
from .confirmed import Telling
from .hooks import Hooks
from .lease import Lease, Settlement
from .message import LeasedMessage, read, thread_died, unknown_actor, untold
from .message import refused as refused_end
from .queue_state import Place
from .report import GATHER_SECONDS, Report
from .settling import Settling
from .steady_log import get_logger
from .waiter import Waiter
from .watch import Failure, Watch
from .work_queue import WorkItem, WorkQueue

logger = get_logger("nomad_actors.broker.worker.session")

#: At most this many jobs in one request.
MAX_REQUEST = 500
#: A worker not heard of for this long is forgotten.
FORGET_MS = 3_600_000
#: How long a session that closes tries to tell Redis.
CLOSE_SECONDS = 5.0
#: A pump whose every round fails for so long, and not for Redis' sake, gives up.
HOPELESS_SECONDS = 60.0
#: How often threads that wait are woken while the worker stops.
STOPPING_TURN_SECONDS = 0.2
#: A nudge that nobody reads goes by itself.
NUDGE_EXPIRES_MS = 60_000


class _Told(NamedTuple):
    """What a running job has said of itself and is sent now."""

    lease: Lease
    report: Report
    first: int
    progress: bytes
    lines: list[tuple[float, bytes]]


class _Sent(NamedTuple):
    """What one round has asked of Redis, in the order of the replies."""

    reports: list[_Told]
    batches: list[list[Settlement]]
    wanted: list[tuple[Place, int]]
    beats: list[Place]


class Session:
    """The process' dealings with Redis as a worker; made when a worker boots, one a process and worker."""

    def __init__(
        self,
        *,
        pool: redis.ConnectionPool,
        base_of: Callable[[str], str],
        threads: int,
        lease_ms: int,
        knows_actor: Callable[[str], bool],
        work_queue: WorkQueue | None,
        hooks: Hooks,
        broker: object,
        replace_dead_threads: Callable[[], None],
        broken: Callable[[Session, Failure], None],
    ) -> None:
        self.pid = os.getpid()
        self.worker_id = os.urandom(8)
        self.name = f"{socket.gethostname()}:{self.pid}@{__version__}"
        self.threads = threads
        self._lease_ms = lease_ms
        self._base_of = base_of
        self._knows_actor = knows_actor
        self._work_queue = work_queue
        self._hooks, self._broker = hooks, broker
        self._telling = Telling(lambda endings: hooks.call("report_settled", broker, endings))
        self._replace_dead_threads = replace_dead_threads
        # Beside what the application bounds: its jobs enqueue while this settles, and neither may wait for the other.
        self._link = Link(own_pool(pool, max_connections=FOR_ONE))
        self._places: dict[str, Place] = {}
        self._settling = Settling(worker=self.name, base_of=base_of, tell=self._tell)
        self._reporting: dict[bytes, Lease] = {}
        self._mailbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._taking = True
        self._closing: float | None = None
        self._tried = 0
        #: Whether it was said that Redis is away, and not yet that it is back.
        self._lost = False
        self._turn = 0
        #: When the commands of this round were sent.
        self._sent_boot = 0.0
        #: How many of the jobs held were present when a worker was lost.
        self._suspects = 0
        self._unwanted: set[str] = set()
        self._waiter = Waiter(pool, self.worker_id, hear=self._hear, cancel=self._hear_cancel)
        self._pump = threading.Thread(target=self._run, name="nomad-pump", daemon=True)
        #: Why this worker cannot go on; None while it can.
        self.failure: Failure | None = None
        self._cause: BaseException | None = None
        self._failing_since_mono: float | None = None
        #: Counts the pump's turns; `_idle` while it waits for something to do.
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

    # What other threads say; each call is one atomic step.

    def attach(
        self, queue_name: str, places: int, *, limit: int | None = None, retention: Retention | None = None
    ) -> queue.SimpleQueue[LeasedMessage]:
        """Serve a queue, `places` jobs at a time here and `limit` over all hosts; return where its leases arrive."""
        place = self._places.get(queue_name)
        if place is None:
            base = self._base_of(queue_name)
            place = self._places[queue_name] = Place(queue_name, base, places, limit, retention)
        self._mailbox.put(("attach", place))
        if self._started.acquire(blocking=False):
            self._pump.start()
        return place.inbox

    def detach(self, queue_name: str) -> None:
        """Serve a queue no longer; what was handed out but not begun goes back."""
        self._mailbox.put(("detach", self._places[queue_name]))

    def end(self, settlement: Settlement) -> None:
        """Say that a run is over."""
        self._mailbox.put(("end", settlement))

    def report(self, lease: Lease) -> None:
        """Say that a running job has something to tell of itself."""
        self._mailbox.put(("report", lease))

    def stop_taking(self) -> None:
        """Start no further job; what was handed out but not begun goes back at once."""
        self._mailbox.put(("stop taking", None))

    def running(self) -> list[Lease]:
        """Return the leases held now, for the shutdown that interrupts them."""
        return [lease for place in self._all_places() for lease in list(place.held.values())]

    def release(self, leases: Iterable[Lease]) -> None:
        """Give leases back at their old place, no attempt spent."""
        for lease in leases:
            self.end(Settlement(lease, Outcome.RELEASED))

    def close(self) -> None:
        """Give back what is held, settle what ended, and stop; gives up on a Redis that is away after 5 s."""
        self._watch.close()
        self._waiter.close()
        if not self._pump.is_alive():
            return
        self._mailbox.put(("close", None))
        self._pump.join(CLOSE_SECONDS + 1)

    def _all_places(self) -> tuple[Place, ...]:
        # One step: a queue may be attached by another thread while the pump goes through them.
        return tuple(self._places.values())

    def _hear(self, bases: Sequence[str]) -> None:
        self._mailbox.put(("work", bases))

    def _hear_cancel(self, base: str, stored_id: bytes, reason: str) -> None:
        self._mailbox.put(("cancel", (base, stored_id, reason)))

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
        """Take a turn that a fault does not end the thread by: it is the process' only one that settles."""
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
        """Read the mailbox and speak with Redis; return whether there is nothing left to do, and never will be."""
        self._read_mailbox()
        if not self._taking and self._work_queue is not None:
            self._work_queue.wake(self.threads)
        if self._closing is not None and self._finished():
            return True
        self._round()
        return False

    def _on_broken(self, failure: Failure) -> None:
        self.failure = failure
        self._broken(self, failure)

    def _finished(self) -> bool:
        # Before the leave, which may take its time.
        self._telling.tell()
        if not self._settling:
            self._leave()
            return True
        if self._closing is not None and time.monotonic() > self._closing:
            logger.error("gave up telling Redis how %d jobs ended", len(self._settling))
            return True
        return False

    def _leave(self) -> None:
        calls = [Call("beat", p.base, (self.worker_id, self.name, "leave")) for p in self._all_places()]
        try:
            self._link.run(calls)
            if self._waiter.nudge_key is not None:
                self._link.commands(self._nudge())
        except LINK_ERRORS as error:
            logger.info("could not say good-bye to Redis: %s", describe(error))

    def _read_mailbox(self) -> None:
        idle_seconds = self._idle_seconds()
        self._idle = True
        try:
            kind, what = self._mailbox.get(
                timeout=min(idle_seconds, Telling.SECONDS) if self._telling else idle_seconds
            )
        except queue.Empty:
            self._idle = False
            self._telling.tell()
            return
        self._idle = False
        while True:
            getattr(self, f"_on_{kind.replace(' ', '_')}")(what)
            try:
                kind, what = self._mailbox.get_nowait()
            except queue.Empty:
                return

    def _idle_seconds(self) -> float:
        """Return how long nothing needs doing unless somebody says so."""
        now = time.monotonic()
        if self._settling or self._tried or self._closing is not None or self._can_ask(now):
            return 0.0
        attached = [place for place in self._all_places() if place.attached]
        wakes = [place.next_beat_mono(self._lease_ms / 1000) for place in self._beating()]
        wakes += [self._report_due_mono(lease) for lease in self._reporting.values()]
        if self._taking and self._free_threads() > 0:
            wakes += [p.due_mono for p in attached if p.due_mono is not None and p.free > 0]
        if not self._taking:
            wakes.append(now + STOPPING_TURN_SECONDS)
        return max(0.0, min(wakes, default=now + self._lease_ms / 2000) - now)

    def _on_attach(self, place: Place) -> None:
        place.attached, place.asleep = True, False
        # The first round ticks: where no process lives long enough for a second, the lost ones are missed all the same.
        place.beat_mono = 0.0

    def _on_detach(self, place: Place) -> None:
        place.attached = False
        self._return_inbox(place)

    def _on_end(self, settlement: Settlement) -> None:
        place = self._places[settlement.lease.queue]
        if place.held.get(settlement.lease.token) is settlement.lease:
            # Ended once: a run that was released at shutdown may still come to its own end.
            place.held.pop(settlement.lease.token)
            self._settling.add(settlement)
            if settlement.lease.suspect:
                self._suspects -= 1
                self._ask_for_suspects()

    def _ask_for_suspects(self) -> None:
        for place in self._all_places():
            if place.passed_over:
                place.asleep = False

    def _on_report(self, lease: Lease) -> None:
        if lease.report is not None:
            self._reporting[lease.token] = lease

    def _on_cancel(self, what: tuple[str, bytes, str]) -> None:
        base, stored_id, reason = what
        for place in self._all_places():
            if place.base == base:
                self._cancel([lease for lease in place.held.values() if lease.stored_id == stored_id], reason)

    @staticmethod
    def _cancel(leases: Iterable[Lease], reason: str) -> None:
        for lease in leases:
            if lease.cancel_reason is None:
                lease.cancel_reason = reason
                struck = interrupts.strike(lease, Cancelled)
                how = "interrupted" if struck else "not running yet, or through"
                logger.info("job %s of queue %s is to be cancelled: %s", lease.job_id, lease.queue, how)

    def _on_stop_taking(self, _: None) -> None:
        self._taking = False
        self._return_work()
        for place in self._all_places():
            self._return_inbox(place)

    def _on_work(self, bases: Sequence[str]) -> None:
        for place in self._all_places():
            if not bases or place.base in bases:
                place.asleep = False
                if bases and (place.free <= 0 or not self._taking):
                    # We ate a token that another worker could use: hand it back.
                    self._unwanted.add(place.base)

    def _on_close(self, _: None) -> None:
        self._closing = time.monotonic() + CLOSE_SECONDS
        self._on_stop_taking(None)
        for lease in self.running():
            self._on_end(Settlement(lease, Outcome.RELEASED))

    def _return_inbox(self, place: Place) -> None:
        """Give back what was handed out and not begun."""
        while True:
            try:
                message = place.inbox.get_nowait()
            except queue.Empty:
                return
            self._on_end(Settlement(message.lease, Outcome.RELEASED))

    def _return_work(self) -> None:
        """Give back what no thread of the Worker has begun."""
        while self._work_queue is not None:
            try:
                item = self._work_queue.get_nowait()
            except queue.Empty:
                return
            self._work_queue.task_done()
            self._on_end(Settlement(item.message.lease, Outcome.RELEASED))

    # A round: send, read, hand out.

    def _round(self) -> None:
        try:
            if self._speak() and self._lost:
                logger.info("Redis is back; what ended meanwhile is settled")
                self._lost = False
            self._tried = 0
        except LINK_ERRORS as error:
            self._tried += 1
            if not self._lost:
                self._lost = True
                logger.warning("lost Redis: %s; what ended is kept and sent when it is back", describe(error))
            self._telling.tell()
            time.sleep(backoff_seconds(self._tried))

    def _speak(self) -> bool:
        """Send what is to be sent and take the answers; return whether there was any."""
        refused = self._settling.send_elsewhere(self._link)
        batches = self._settling.batches(refused)
        wanted = self._wanted()
        self._introduce()
        sent = _Sent(self._due_reports(), batches, wanted, self._due_beats())
        leaving = {id(s.lease) for batch in batches for s in batch}
        calls = [self._report_call(told) for told in sent.reports]
        calls += [self._settling.call(batch, self._evidence_for(batch)) for batch in batches]
        calls += [self._start_call(place, free, suspects) for place, free, suspects in self._with_suspects(wanted)]
        calls += [self._beat_call(place, leaving) for place in sent.beats]
        started = 0
        self._sent_boot = boot_seconds()
        if calls:
            # Jobs that could start do not wait for what is reported of those that ended.
            started = self._take_replies(self._link.run(calls, self._telling.tell), sent)
        self._arm()
        if not started:
            # Another round may be long in coming.
            self._telling.tell()
        if refused:
            raise refused[0]
        return bool(calls)

    def _introduce(self) -> None:
        """Tell Redis what was declared of the queues we begin to serve, and drop workers that are long gone."""
        new = [place for place in self._all_places() if place.attached and not place.introduced]
        calls = [Call("forget", place.base, (FORGET_MS,)) for place in new]
        calls += [Call("limit", place.base, ("limit", place.limit)) for place in new if place.limit is not None]
        for place in new:
            if (kept := place.retention) is not None:
                arguments = (kept.completed, kept.completed_ms, kept.failed, kept.failed_ms)
                calls.append(Call("keep", place.base, arguments))
        if calls:
            self._link.run(calls)
        for place in new:
            place.introduced = True

    def _take_replies(self, replies: list[Any], sent: _Sent) -> int:
        """Act on the answers; return how many jobs were handed out."""
        now, at, started = time.monotonic(), iter(replies), 0
        for told, reply in zip(sent.reports, at, strict=False):
            if not isinstance(reply, ResponseError):
                self._on_report_reply(told, now)
        for batch, reply in zip(sent.batches, at, strict=False):
            if not isinstance(reply, ResponseError):
                self._settling.confirmed(batch, reply)
        for (place, free), reply in zip(sent.wanted, at, strict=False):
            if not isinstance(reply, ResponseError):
                started += self._on_start_reply(place, free, reply, now)
        for place, reply in zip(sent.beats, at, strict=False):
            place.beat_mono = now
            if not isinstance(reply, ResponseError):
                self._on_beat_reply(place, reply, now)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return started

    # Beats.

    def _due_beats(self) -> list[Place]:
        now, seconds = time.monotonic(), self._lease_ms / 1000
        due = [place for place in self._beating() if place.next_beat_mono(seconds) <= now]
        if due and self._taking:
            try:
                self._end_jobs_of_dead_threads()
                self._replace_dead_threads()
            except BaseException:
                # No thread can be had, perhaps: that must not keep the heartbeats from being sent.
                logger.critical("the threads that died could not be replaced", exc_info=True)
        return due

    def _beating(self) -> list[Place]:
        """Return the queues that must hear of us: also one that is no longer served while its jobs still run."""
        return [place for place in self._all_places() if place.attached or place.held]

    def _beat_call(self, place: Place, leaving: set[int]) -> Call:
        """Name what is held, and what has ended and is not on its way to Redis ahead of this."""
        ended = [s.lease for s in self._settling if s.lease.queue == place.name]
        named = [lease for lease in (*place.held.values(), *ended) if id(lease) not in leaving]
        return heartbeat.call(place, self.worker_id, self.name, self._lease_ms, named)

    def _evidence_for(self, batch: Sequence[Settlement]) -> str:
        return self._places[batch[0].lease.queue].clock.evidence()

    def _on_beat_reply(self, place: Place, reply: list[Any], now: float) -> None:
        answer = heartbeat.read(place, reply)
        heartbeat.look_at_clock(place, answer.clock, self._sent_boot)
        place.busy = answer.active > 0
        if answer.more:
            place.beat_mono = 0.0
        place.due_mono = _due_mono(now, answer.now_ms, answer.due_ms)
        if answer.waiting:
            # Should a wake token have gone with a worker that died, this finds the work.
            place.asleep = False
        for lease in place.held.values():
            if lease.stored_id in answer.lost and not lease.lost:
                lease.lost = True
                logger.warning("job %s of queue %s was taken from us: we went unheard", lease.job_id, place.name)
        self._cancel(
            [lease for lease in place.held.values() if lease.stored_id in answer.cancelled], "asked for by an operator"
        )
        if answer.recovered:
            self._tell(answer.recovered)

    def _tell(self, endings: Sequence[Ended]) -> None:
        self._hooks.call("after_settle", self._broker, endings)
        self._telling.add(endings)

    def _end_jobs_of_dead_threads(self) -> None:
        for lease in self.running():
            if lease.thread is not None and not lease.thread.is_alive() and lease.proxy is not None:
                logger.critical("the thread that ran job %s of queue %s died", lease.job_id, lease.queue)
                try:
                    settlement = thread_died(lease.proxy)
                except BaseException:
                    logger.critical("how job %s ended cannot be told", lease.job_id, exc_info=True)
                    settlement = untold(lease.proxy)
                self._on_end(settlement)

    # Reports.

    def _report_due_mono(self, lease: Lease) -> float:
        return lease.report.sent_mono + GATHER_SECONDS if lease.report is not None else 0.0

    def _due_reports(self) -> list[_Told]:
        """Return what running jobs have said, gathered for a moment; of those that end now, without delay."""
        now = time.monotonic()
        ending = {s.lease.token for s in self._settling} if self._reporting else set()
        due = [
            lease for token, lease in self._reporting.items() if token in ending or self._report_due_mono(lease) <= now
        ]
        return [_Told(lease, lease.report, *lease.report.pending()) for lease in due if lease.report is not None]

    def _report_call(self, told: _Told) -> Call:
        arguments: list[bytes | str | int | float] = [told.lease.stored_id, told.lease.token, told.first]
        arguments.append(told.progress)
        for at_ms, text in told.lines:
            arguments += (at_ms, text)
        return Call("report", self._base_of(told.lease.queue), arguments)

    def _on_report_reply(self, told: _Told, now: float) -> None:
        told.report.sent_mono = now
        if not told.report.sent(told.progress, len(told.lines)):
            self._reporting.pop(told.lease.token, None)

    # Starting.

    def _free_threads(self) -> int:
        return self.threads - sum(len(place.held) for place in self._all_places())

    def _can_ask(self, now: float) -> bool:
        return self._free_threads() > 0 and self._taking and any(place.wants(now) for place in self._all_places())

    def _wanted(self) -> list[tuple[Place, int]]:
        """Return which queues to ask for how many jobs: a free place and a free thread for each."""
        now = time.monotonic()
        asking = [place for place in self._all_places() if self._taking and place.wants(now)]
        threads = self._free_threads()
        if threads <= 0 or not asking:
            return []
        if len(asking) > 1 and sum(place.free for place in asking) > threads:
            asking = self._most_urgent_first(asking)
        wanted = []
        for place in asking:
            free = min(place.free, threads, MAX_REQUEST)
            if free > 0:
                wanted.append((place, free))
                threads -= free
        return wanted

    def _most_urgent_first(self, asking: list[Place]) -> list[Place]:
        """Order queues by the job that would start next: with too few threads for all, the urgent one gets them."""
        replies = self._link.run([Call("peek", place.base) for place in asking])
        scores = {
            place.name: float(reply)
            for place, reply in zip(asking, replies, strict=True)
            if reply and not isinstance(reply, Exception)
        }
        self._turn += 1
        turned = asking[self._turn % len(asking) :] + asking[: self._turn % len(asking)]
        # Equal priorities take turns; a queue without waiting jobs is asked last, for what is due.
        return sorted(turned, key=lambda p: scores[p.name] // keys.PRIORITY_STEP if p.name in scores else 1e9)

    def _with_suspects(self, wanted: list[tuple[Place, int]]) -> list[tuple[Place, int, int]]:
        """Add how many suspects each request may take: one in all, and none while one runs here.

        A suspect was present when a worker was lost. Kept apart, only the one that kills its worker does so again.
        """
        if self._suspects:
            return [(place, free, 0) for place, free in wanted]
        self._turn += 1
        passed = [place.name for place, _ in wanted if place.passed_over] or [place.name for place, _ in wanted]
        chosen = passed[self._turn % len(passed)] if passed else ""
        return [(place, free, int(place.name == chosen)) for place, free in wanted]

    def _start_call(self, place: Place, free: int, suspects: int) -> Call:
        request = _next_request(place)
        evidence = place.clock.evidence()
        return Call("start", place.base, (self.worker_id, request, free, self.name, suspects, evidence))

    def _on_start_reply(self, place: Place, free: int, reply: list[Any], now: float) -> int:
        """Hand out the jobs of a reply; return how many."""
        place.request = _next_request(place)
        redis_now = float(reply[0])
        place.due_mono = _due_mono(now, redis_now, float(reply[1]) if reply[1] else None)
        place.passed_over = int(reply[2])
        taken = 0
        for i in range(3, len(reply), 4):
            lease = self._lease(place, reply[i], reply[i + 1], int(reply[i + 2]), redis_now)
            place.held[lease.token] = lease
            self._suspects += lease.suspect
            self._hand_out_or_end(place, lease)
            taken += 1
        place.asleep = taken < free
        return taken

    def _lease(self, place: Place, stored_id: bytes, value: bytes, number: int, now_ms: float) -> Lease:
        token = records.TOKEN.pack(self.worker_id, place.request, number)
        job_id = records.unpack_id(stored_id)
        try:
            header, body = records.unpack_head(value)
        except UnreadableBody:
            return Lease(place.name, stored_id, job_id, token, now_ms, None, value)
        return Lease(place.name, stored_id, job_id, token, now_ms, header, value[body])

    def _hand_out_or_end(self, place: Place, lease: Lease) -> None:
        """Give a job to a thread; what no thread could run ends here, with the reason."""
        try:
            self._hand_out(place, lease)
        except UnreadableBody as error:
            self._on_end(refused_end(lease, error))
        except BaseException as error:
            # An application's own encoder made it, or a message of its own: held and never run, it would stay for ever.
            logger.critical("job %s cannot be handed to a thread", lease.job_id, exc_info=True)
            self._on_end(refused_end(lease, UnreadableBody(f"it cannot be read: {describe_error(error)}", lease.body)))

    def _hand_out(self, place: Place, lease: Lease) -> None:
        message = read(lease)
        lease.proxy = message
        lease.tell = self.report
        if not self._knows_actor(message.actor_name):
            self._on_end(unknown_actor(lease, self.name))
        elif self._work_queue is not None:
            self._work_queue.put(WorkItem(message))
        else:
            place.inbox.put(message)

    def _arm(self) -> None:
        """Have the waiter wait for every queue that could take work and has none."""
        attached = [place for place in self._all_places() if place.attached]
        idle = {p.base for p in attached if self._taking and p.asleep and p.free > 0}
        commands: list[tuple[Any, ...]] = [("RPUSH", keys.wake(base), "1") for base in self._unwanted]
        if self._waiter.arm({place.base for place in attached}, idle):
            commands += self._nudge()
        if commands:
            self._link.commands(commands)
        self._unwanted.clear()

    def _nudge(self) -> list[tuple[Any, ...]]:
        """Return the commands that wake our own waiter; the key goes by itself if it is never read."""
        key = self._waiter.nudge_key
        return [("RPUSH", key, NUDGE), ("PEXPIRE", key, NUDGE_EXPIRES_MS)]


def _next_request(place: Place) -> int:
    return (place.request + 1) % records.REQUESTS


def _due_mono(now: float, redis_now_ms: float, due_ms: float | None) -> float | None:
    return None if due_ms is None else now + max(0.0, due_ms - redis_now_ms) / 1000
