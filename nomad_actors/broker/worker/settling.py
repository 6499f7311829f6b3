"""The runs that have ended: they are sent in batches, kept until Redis has confirmed them, and then reported."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from ..client.link import Call, Link
from ..endings import Ended
from .hooks import Hooks
from .lease import Settlement
from .steady_log import get_logger

logger = get_logger("nomad_actors.broker.worker.settling")

#: At most this many settlements in one script.
MAX_SETTLE = 200
#: How long a confirmed run may wait for the next round before it is reported.
REPORT_SECONDS = 0.005


class Settling:
    """The settlements of one process that Redis has not confirmed, oldest first; used only by the pump."""

    def __init__(self, *, worker: str, base_of: Callable[[str], str], hooks: Hooks) -> None:
        self._worker = worker
        self._base_of = base_of
        self._hooks = hooks
        self._unsettled: deque[Settlement] = deque()
        #: Confirmed runs, which are reported while Redis works on the next round.
        self.unreported: list[Ended] = []

    def __len__(self) -> int:
        return len(self._unsettled)

    def __iter__(self) -> Iterator[Settlement]:
        return iter(self._unsettled)

    def add(self, settlement: Settlement) -> None:
        self._unsettled.append(settlement)

    def send_elsewhere(self, link: Link) -> list[Exception]:
        """Send the jobs that ended runs enqueued on other queues; return the errors of those that must wait.

        Raises one of `LINK_ERRORS`.
        """
        waiting = [s for s in self._unsettled if s.lease.outbox and not s.sent_elsewhere and s.elsewhere()]
        if not waiting:
            return []
        jobs = [(s, job) for s in waiting for job in s.elsewhere()]
        calls = [Call("enqueue", self._base_of(job.queue), ("", *job.arguments())) for _, job in jobs]
        replies = link.run(calls)
        failed = {id(s) for (s, _), reply in zip(jobs, replies, strict=True) if isinstance(reply, Exception)}
        for settlement in waiting:
            settlement.sent_elsewhere = id(settlement) not in failed
        return [reply for reply in replies if isinstance(reply, Exception)]

    def batches(self, refused: Sequence[Exception]) -> list[list[Settlement]]:
        """Return the settlements that can be sent now, by queue: without those that wait for a refused job."""
        by_queue: dict[str, list[Settlement]] = {}
        for settlement in self._unsettled:
            if refused and settlement.elsewhere() and not settlement.sent_elsewhere:
                continue
            batch = by_queue.setdefault(settlement.lease.queue, [])
            if len(batch) < MAX_SETTLE:
                batch.append(settlement)
        return [batch for batch in by_queue.values() if batch]

    def call(self, batch: Sequence[Settlement], clock_evidence: str) -> Call:
        arguments: list[bytes | str | int | float] = [self._worker, clock_evidence]
        for settlement in batch:
            arguments.extend(settlement.arguments())
        return Call("settle", self._base_of(batch[0].lease.queue), arguments)

    def confirmed(self, batch: Sequence[Settlement], reply: Sequence[bytes]) -> None:
        """Remove a batch that Redis has replied to, and pass it to `settled`."""
        ended_ms = float(reply[0])
        endings = []
        settled = set(map(id, batch))
        self._unsettled = deque(s for s in self._unsettled if id(s) not in settled)
        for settlement, word in zip(batch, reply[1:], strict=True):
            if word in (b"ok", b"already", b"cancelled"):
                endings.append(settlement.to_ended(ended_ms, cancelled=word == b"cancelled"))
            else:
                _log_refused(settlement, word.decode())
        if endings:
            self.settled(endings)

    def settled(self, endings: Sequence[Ended]) -> None:
        """Pass runs that Redis has confirmed to middleware."""
        self._hooks.call("after_settle", endings)
        self.unreported += endings

    def report(self) -> None:
        endings, self.unreported = self.unreported, []
        if endings:
            self._hooks.call("report_settled", endings)


def _log_refused(settlement: Settlement, word: str) -> None:
    why = "another worker has its lease by now" if word == "fenced" else "the job does not exist any more"
    logger.warning("job %s of queue %s ended too late: %s", settlement.lease.job_id, settlement.lease.queue, why)
