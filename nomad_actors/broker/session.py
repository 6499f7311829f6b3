"""One worker process at Redis: its leases, its free places, its settlements, its reconnecting.

Everything that a process keeps between two commands lives here and not in a Consumer, which Dramatiq replaces at will.
One thread, the pump, owns all of it and speaks to Redis; everybody else puts a note into its mailbox, which is one
atomic step and safe against an exception that strikes from outside. A second thread, the waiter, blocks in Redis until
there is work (`waiter`).

A round of the pump: read the mailbox; settle what ended; ask for as many jobs as can start now, a free place of the
queue and a free thread each; hand them out. Nothing is fetched ahead. The next round carries what ended meanwhile, so
settlements travel in batches exactly when there is much to do.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import redis
from redis.exceptions import ResponseError

from . import keys, records
from .endings import Ended, Outcome
from .errors import UnreadableBody
from .lease import Lease, Settlement
from .leased import LeasedMessage, read
from .leased import refused as refused_end
from .link import LINK_ERRORS, Call, Link, backoff_seconds, describe
from .place import Place
from .waiter import Waiter
from .work_queue import WorkItem, WorkQueue

logger = logging.getLogger("nomad_actors.broker.session")

#: A worker that says nothing for this long is looked for: see `QueueView.workers`.
BEAT_SECONDS = 8.0
#: At most this many jobs in one request.
MAX_REQUEST = 500
#: At most this many settlements in one script.
MAX_SETTLE = 200
#: A worker not heard of for this long is forgotten.
FORGET_MS = 3_600_000
#: How long a session that closes tries to tell Redis.
CLOSE_SECONDS = 5.0


class Session:
    """The process' dealings with Redis as a worker; made when a worker boots, one a process and worker."""

    def __init__(
        self,
        *,
        pool: redis.ConnectionPool,
        base_of: Callable[[str], str],
        threads: int,
        knows_actor: Callable[[str], bool],
        work_queue: WorkQueue | None,
        on_settled: Callable[[Sequence[Ended]], None],
    ) -> None:
        self.pid = os.getpid()
        self.worker_id = os.urandom(8)
        self.name = f"{socket.gethostname()}:{self.pid}"
        self.threads = threads
        self._base_of = base_of
        self._knows_actor = knows_actor
        self._work_queue = work_queue
        self._on_settled = on_settled
        self._link = Link(pool)
        self._places: dict[str, Place] = {}
        self._unsettled: deque[Settlement] = deque()
        self._mailbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._taking = True
        self._closing: float | None = None
        self._tried = 0
        self._turn = 0
        self._unwanted: set[str] = set()
        self._waiter = Waiter(pool, self.worker_id, self._hear)
        self._pump = threading.Thread(target=self._run, name="nomad-pump", daemon=True)
        self._started = threading.Lock()

    # What other threads say; each call is one atomic step.

    def attach(self, queue_name: str, places: int, *, limit: int | None = None) -> queue.SimpleQueue[LeasedMessage]:
        """Serve a queue, `places` jobs at a time here and `limit` over all hosts; return where its leases arrive."""
        place = self._places.get(queue_name)
        if place is None:
            place = self._places[queue_name] = Place(queue_name, self._base_of(queue_name), places, limit)
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
        if not self._pump.is_alive():
            return
        self._waiter.close()
        self._mailbox.put(("close", None))
        self._pump.join(CLOSE_SECONDS + 1)

    def _all_places(self) -> tuple[Place, ...]:
        # One step: a queue may be attached by another thread while the pump goes through them.
        return tuple(self._places.values())

    def _hear(self, bases: Sequence[str]) -> None:
        self._mailbox.put(("work", bases))

    # The pump.

    def _run(self) -> None:
        self._waiter.start()
        while True:
            try:
                self._read_mailbox()
                if self._closing is not None and self._finished():
                    break
                self._round()
            except Exception:
                # A fault of ours must not stop the process' only thread that settles; it is loud instead.
                logger.critical("the broker's session failed in a round", exc_info=True)
                time.sleep(0.1)
        self._link.close()

    def _finished(self) -> bool:
        if not self._unsettled:
            self._leave()
            return True
        if self._closing is not None and time.monotonic() > self._closing:
            logger.error("gave up telling Redis how %d jobs ended", len(self._unsettled))
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
        try:
            kind, what = self._mailbox.get(timeout=self._idle_seconds())
        except queue.Empty:
            return
        while True:
            getattr(self, f"_on_{kind.replace(' ', '_')}")(what)
            try:
                kind, what = self._mailbox.get_nowait()
            except queue.Empty:
                return

    def _idle_seconds(self) -> float:
        """Return how long nothing needs doing unless somebody says so."""
        now = time.monotonic()
        if self._unsettled or self._tried or self._closing is not None or self._can_ask(now):
            return 0.0
        attached = [place for place in self._all_places() if place.attached]
        wakes = [place.asked_mono + BEAT_SECONDS for place in attached]
        if self._taking and self._free_threads() > 0:
            wakes += [p.due_mono for p in attached if p.due_mono is not None and p.free > 0]
        return max(0.0, min(wakes, default=now + BEAT_SECONDS) - now)

    def _on_attach(self, place: Place) -> None:
        place.attached, place.asleep = True, False

    def _on_detach(self, place: Place) -> None:
        place.attached = False
        self._return_inbox(place)

    def _on_end(self, settlement: Settlement) -> None:
        place = self._places[settlement.lease.queue]
        if place.held.get(settlement.lease.token) is settlement.lease:
            # Ended once: a run that was released at shutdown may still come to its own end.
            place.held.pop(settlement.lease.token)
            self._unsettled.append(settlement)

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
            self._speak()
            self._tried = 0
        except LINK_ERRORS as error:
            self._tried += 1
            if self._tried == 1:
                logger.warning("lost Redis: %s; what ended is kept and sent when it is back", describe(error))
            time.sleep(backoff_seconds(self._tried))

    def _speak(self) -> None:
        refused = self._send_elsewhere()
        batches = self._batches(refused)
        wanted = self._wanted()
        self._introduce()
        beats = self._overdue({place.name for place, _ in wanted})
        calls = [self._settle_call(batch) for batch in batches]
        calls += [self._start_call(place, free) for place, free in wanted]
        calls += [Call("beat", place.base, (self.worker_id, self.name)) for place in beats]
        if calls:
            replies = self._link.run(calls)
            self._take_replies(replies, batches, wanted, beats)
        self._arm()
        if refused:
            raise refused[0]

    def _introduce(self) -> None:
        """Tell Redis what was declared of the queues we begin to serve, and drop workers that are long gone."""
        new = [place for place in self._all_places() if place.attached and not place.introduced]
        calls = [Call("forget", place.base, (FORGET_MS,)) for place in new]
        calls += [Call("limit", place.base, (place.limit,)) for place in new if place.limit is not None]
        if calls:
            self._link.run(calls)
        for place in new:
            place.introduced = True

    def _take_replies(
        self,
        replies: list[Any],
        batches: list[list[Settlement]],
        wanted: list[tuple[Place, int]],
        beats: list[Place],
    ) -> None:
        now, settled, started = time.monotonic(), len(batches), len(batches) + len(wanted)
        for batch, reply in zip(batches, replies[:settled], strict=True):
            if not isinstance(reply, ResponseError):
                self._on_settle_reply(batch, reply)
        for (place, free), reply in zip(wanted, replies[settled:started], strict=True):
            if not isinstance(reply, ResponseError):
                self._on_start_reply(place, free, reply, now)
        for place in beats:
            place.asked_mono = now
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply

    # Settling.

    def _send_elsewhere(self) -> list[Exception]:
        """Send what ended runs enqueued on other queues; return why it was refused, for those that have to wait."""
        waiting = [s for s in self._unsettled if s.lease.outbox and not s.sent_elsewhere and s.elsewhere()]
        if not waiting:
            return []
        jobs = [(s, job) for s in waiting for job in s.elsewhere()]
        calls = [Call("enqueue", self._base_of(job.queue), job.arguments()) for _, job in jobs]
        replies = self._link.run(calls)
        failed = {id(s) for (s, _), reply in zip(jobs, replies, strict=True) if isinstance(reply, Exception)}
        for settlement in waiting:
            settlement.sent_elsewhere = id(settlement) not in failed
        return [reply for reply in replies if isinstance(reply, Exception)]

    def _batches(self, refused: list[Exception]) -> list[list[Settlement]]:
        """Group what can be settled now by queue."""
        by_queue: dict[str, list[Settlement]] = {}
        for settlement in self._unsettled:
            if refused and settlement.elsewhere() and not settlement.sent_elsewhere:
                continue
            batch = by_queue.setdefault(settlement.lease.queue, [])
            if len(batch) < MAX_SETTLE:
                batch.append(settlement)
        return [batch for batch in by_queue.values() if batch]

    def _settle_call(self, batch: list[Settlement]) -> Call:
        arguments: list[bytes | str | int | float] = [self.name]
        for settlement in batch:
            arguments.extend(settlement.arguments())
        return Call("settle", self._places[batch[0].lease.queue].base, arguments)

    def _on_settle_reply(self, batch: list[Settlement], reply: list[bytes]) -> None:
        ended_ms = float(reply[0])
        endings = []
        settled = set(map(id, batch))
        self._unsettled = deque(s for s in self._unsettled if id(s) not in settled)
        for settlement, word in zip(batch, reply[1:], strict=True):
            if word in (b"ok", b"already"):
                endings.append(settlement.told(ended_ms))
            else:
                _log_refused(settlement, word.decode())
        if endings:
            self._on_settled(endings)

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

    def _start_call(self, place: Place, free: int) -> Call:
        return Call("start", place.base, (self.worker_id, place.request + 1, free, self.name))

    def _on_start_reply(self, place: Place, free: int, reply: list[Any], now: float) -> None:
        place.request += 1
        place.asked_mono = now
        redis_now = float(reply[0])
        place.due_mono = now + max(0.0, float(reply[1]) - redis_now) / 1000 if reply[1] else None
        taken = 0
        for i in range(3, len(reply), 4):
            lease = self._lease(place, reply[i], reply[i + 1], int(reply[i + 2]), redis_now)
            place.held[lease.token] = lease
            self._hand_out(place, lease)
            taken += 1
        place.asleep = taken < free

    def _lease(self, place: Place, stored_id: bytes, value: bytes, number: int, now_ms: float) -> Lease:
        token = records.TOKEN.pack(self.worker_id, place.request, number)
        job_id = records.unpack_id(stored_id)
        try:
            header, end = records.unpack_header(value)
        except UnreadableBody:
            return Lease(place.name, stored_id, job_id, token, now_ms, None, value)
        return Lease(place.name, stored_id, job_id, token, now_ms, header, value[records.HEADER.size : end])

    def _hand_out(self, place: Place, lease: Lease) -> None:
        """Give a job to a thread; what no thread could run ends here, with the reason."""
        try:
            message = read(lease)
            if not self._knows_actor(message.actor_name):
                raise UnreadableBody(f"no actor {message.actor_name!r} is declared in this worker", lease.body)
        except UnreadableBody as error:
            self._on_end(refused_end(lease, error))
            return
        if self._work_queue is not None:
            self._work_queue.put(WorkItem(message))
        else:
            place.inbox.put(message)

    def _overdue(self, asked: set[str]) -> list[Place]:
        """Return the queues that should hear that we live, since we have nothing else to say to them."""
        now = time.monotonic()
        return [
            place
            for place in self._all_places()
            if place.attached and place.name not in asked and now - place.asked_mono >= BEAT_SECONDS
        ]

    def _arm(self) -> None:
        """Have the waiter wait for every queue that could take work and has none."""
        idle = {p.base for p in self._all_places() if self._taking and p.attached and p.asleep and p.free > 0}
        commands: list[tuple[Any, ...]] = [("RPUSH", keys.wake(base), "1") for base in self._unwanted]
        if idle and self._waiter.arm(idle):
            commands += self._nudge()
        if commands:
            self._link.commands(commands)
        self._unwanted.clear()

    def _nudge(self) -> list[tuple[Any, ...]]:
        """Return the commands that wake our own waiter; the key goes by itself if it is never read."""
        key = self._waiter.nudge_key
        return [("RPUSH", key, "1"), ("PEXPIRE", key, "60000")]


def _log_refused(settlement: Settlement, word: str) -> None:
    why = "its lease is another worker's now" if word == "fenced" else "there is no such job any more"
    logger.warning("job %s of queue %s ended too late: %s", settlement.lease.job_id, settlement.lease.queue, why)
