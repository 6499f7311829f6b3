"""Schedulers are killed, frozen or get a wrong clock, and Redis is restarted: each slot has one job, in time."""

from __future__ import annotations

import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nomad_actors.broker import State
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.queues import Queues

from .scheduler_process import FastClock, queues_on

#: A minute of the schedule takes a fifth of a second.
SPEED = 300.0
MINUTE_MS = 60_000
IN_TIME_SECONDS = 2.0
#: How long a scheduler may take to reconnect to Redis: it checks every 1.6 s.
RECONNECT_SECONDS = 3.0


class SchedulerGroup:
    """Three schedulers, one of which is disturbed at a time."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self.members = [self._start() for _ in range(3)]
        self.disturbances = {"killed": 0, "frozen": 0, "wrong clock": 0}

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos.scheduler_process", *self._arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"ready\n", "a scheduler did not start"
        return process

    def disturb(self, draw: random.Random, seconds: float) -> None:
        """Kill one scheduler, freeze it or set its clock wrong for a while, then restore it."""
        at, kind = draw.randrange(3), draw.choice(list(self.disturbances))
        self.disturbances[kind] += 1
        victim = self.members[at]
        if kind == "killed":
            victim.kill()
            victim.wait()
            time.sleep(seconds)
            self.members[at] = self._start()
            return
        begin, end = (signal.SIGSTOP, signal.SIGCONT) if kind == "frozen" else (signal.SIGUSR1, signal.SIGUSR2)
        victim.send_signal(begin)
        time.sleep(seconds)
        victim.send_signal(end)

    def end(self) -> None:
        """Kill them all."""
        for process in self.members:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def schedulers(draw: random.Random, seconds: float) -> str:
    """Run three schedulers for a thousand slots, one a minute, and disturb one every few seconds."""
    slots = max(20, int(1_000 * min(1.0, seconds / 60)))
    with tempfile.TemporaryDirectory() as directory:
        server = LocalRedis(Path(directory), append_only=True, appendfsync="always", ends_with_parent=True).start()
        began_ms = time.time() * 1000
        # It begins at a full minute far from now, so that the clocks cannot be confused.
        clock = FastClock(began_ms, 1_900_000_020_000.0, SPEED)
        queues = queues_on(server.url, clock)
        conversion = clock.conversion()
        group = SchedulerGroup([server.url, repr(conversion.since_ms), repr(conversion.at_ms), repr(conversion.speed)])
        outages: list[tuple[float, float]] = []
        try:
            end = time.monotonic() + slots * MINUTE_MS / 1000 / SPEED
            restart_at = sorted(draw.uniform(0.2, 0.8) for _ in range(2))
            while (left := end - time.monotonic()) > 0:
                group.disturb(draw, draw.uniform(0.3, 2.0))
                elapsed_share = 1 - left * 1000 * SPEED / (slots * MINUTE_MS)
                if restart_at and elapsed_share >= restart_at[0]:
                    restart_at.pop(0)
                    away_ms = time.time() * 1000
                    server.kill()
                    time.sleep(draw.uniform(0.1, 1.0))
                    server.start()
                    outages.append((away_ms, time.time() * 1000 + RECONNECT_SECONDS * 1000))
                time.sleep(draw.uniform(0.2, 1.0))
            time.sleep(IN_TIME_SECONDS)
            summary = _check_slots(queues, clock, outages)
        finally:
            group.end()
            queues.broker.close()
            server.kill()
        disturbed = ", ".join(f"{count} {kind}" for kind, count in group.disturbances.items())
        return f"{summary}; disturbed schedulers: {disturbed}; Redis restarted {len(outages)} times"


def _check_slots(queues: Queues, clock: FastClock, outages: list[tuple[float, float]]) -> str:
    """Check that every slot has one job that was added in time; return a summary."""
    view, conversion = queues.broker.view("ticks"), clock.conversion()
    now_ms = clock.now_ms()
    added: dict[int, float] = {}
    for job in view.jobs(State.WAITING, 0, -1):
        assert job.record is not None
        due_ms = int(job.job_id.rpartition(":")[2])
        assert due_ms % MINUTE_MS == 0, job.job_id
        added[due_ms] = job.record.header.ready_ms
    first = min(added)
    expected = list(range(first, int(now_ms - IN_TIME_SECONDS * 1000 * SPEED), MINUTE_MS))
    missing = [due for due in expected if due not in added]
    assert not missing, f"{len(missing)} of {len(expected)} slots have no job: {missing[:5]}"
    late_seconds = []
    for due_ms in expected:
        due_real_ms = conversion.since_ms + (due_ms - conversion.at_ms) / conversion.speed
        late = (added[due_ms] - due_real_ms) / 1000
        assert late >= -0.05, f"the slot of {due_ms} was added {-late:.2f} s before it was due"
        if not any(away <= due_real_ms <= back for away, back in outages):
            late_seconds.append(late)
    slowest = max(late_seconds)
    assert slowest <= IN_TIME_SECONDS, f"a slot was added {slowest:.1f} s late"
    return (
        f"{len(expected)} slots, {len(expected)} jobs; added {statistics.median(late_seconds) * 1000:.0f} ms late "
        f"at the median, {slowest:.2f} s at most"
    )
