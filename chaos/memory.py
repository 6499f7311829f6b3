"""A worker process runs many jobs: at the end it needs no more memory than soon after its start."""

from __future__ import annotations

import random
import time

import psutil
from dramatiq import Message

from .losses import QUEUE, Cluster, run_cluster

#: Allowed growth of the process between the first fifth of its jobs and the last, bytes.
GROWTH_BYTES = 8 * 1024 * 1024
BATCH = 2_000


def flat_memory(draw: random.Random, seconds: float) -> str:
    """Run 200,000 jobs in one worker process, some of them with progress, a log line or a failure."""
    batches = max(5, int(100 * min(1.0, seconds / 60)))
    with run_cluster(seconds, workers=1) as cluster:
        process = psutil.Process(cluster.workers[0].pid)
        resident = []
        for batch in range(batches):
            cluster.broker.enqueue_many([(_draw_job(cluster, draw, batch * BATCH + each), 0) for each in range(BATCH)])
            _wait_until_empty(cluster)
            resident.append(process.memory_info().rss)
        early, late = max(resident[: batches // 5]), resident[-1]
        counts = cluster.broker.view(QUEUE).counts()
        summary = (
            f"{batches * BATCH} jobs: {early / 2**20:.1f} MiB after the first fifth, {late / 2**20:.1f} MiB at the end"
        )
        assert late - early <= GROWTH_BYTES, summary
        return f"{summary}; {counts.completed} completed and {counts.failed} failed ones kept"


def _draw_job(cluster: Cluster, draw: random.Random, number: int) -> Message[object]:
    kind = draw.choices(["quiet", "reporting", "failing"], [8, 1, 1])[0]
    return cluster.broker.get_actor(kind).message(number)


def _wait_until_empty(cluster: Cluster) -> None:
    deadline = time.monotonic() + 60
    view = cluster.broker.view(QUEUE)
    while (counts := view.counts()).waiting + counts.active + counts.delayed:
        assert time.monotonic() < deadline, f"not drained: {counts}"
        time.sleep(0.01)
