"""A worker process that runs many jobs: it needs no more memory in the end than soon after its start."""

from __future__ import annotations

import random
import time

import psutil
from dramatiq import Message

from .losses import QUEUE, Stage, stage

#: What the process may have grown by between the first fifth of its jobs and the last, bytes.
GROWTH_BYTES = 8 * 1024 * 1024
BATCH = 2_000


def flat_memory(draw: random.Random, seconds: float) -> str:
    """Run 200,000 jobs in one worker process, a part of them with progress, a log line or a failure."""
    batches = max(5, int(100 * min(1.0, seconds / 60)))
    with stage(seconds, workers=1) as on:
        process = psutil.Process(on.workers[0].pid)
        resident = []
        for batch in range(batches):
            on.broker.enqueue_many([(_some_job(on, draw, batch * BATCH + each), 0) for each in range(BATCH)])
            _drained(on)
            resident.append(process.memory_info().rss)
        early, late = max(resident[: batches // 5]), resident[-1]
        counts = on.broker.view(QUEUE).counts()
        said = (
            f"{batches * BATCH} jobs: {early / 2**20:.1f} MiB after the first fifth, {late / 2**20:.1f} MiB at the end"
        )
        assert late - early <= GROWTH_BYTES, said
        return f"{said}; {counts.completed} completed and {counts.failed} failed ones kept"


def _some_job(on: Stage, draw: random.Random, number: int) -> Message[object]:
    kind = draw.choices(["quiet", "telling", "failing"], [8, 1, 1])[0]
    return on.broker.get_actor(kind).message(number)


def _drained(on: Stage) -> None:
    deadline = time.monotonic() + 60
    view = on.broker.view(QUEUE)
    while (counts := view.counts()).waiting + counts.active + counts.delayed:
        assert time.monotonic() < deadline, f"not drained: {counts}"
        time.sleep(0.01)
