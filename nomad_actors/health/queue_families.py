"""The metrics of the queues, built from their snapshots at each scrape (docs/metrics.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, Metric

from ..broker.records.stats import Totals
from ..metrics.exposition import gauge
from ..queues.overruns import Overrun
from ..queues.policy import Priority
from ..queues.snapshot import QueueSnapshot


def queue_families(
    queues: Sequence[QueueSnapshot],
    overruns: Mapping[str, Sequence[Overrun]],
    attempts_by_queue: Mapping[str, Totals],
) -> Iterable[Metric]:
    """Return the metrics of the queues that can be read."""
    jobs = gauge("nomad_queue_jobs", "Jobs by queue and state.", "queue", "state")
    oldest = gauge(
        "nomad_queue_oldest_waiting_seconds",
        "How long the first waiting job of a priority has been due; 0 if none waits.",
        *("queue", "priority"),
    )
    longest = gauge("nomad_queue_longest_active_seconds", "Run time of the longest-running job.", "queue")
    overtime = gauge(
        "nomad_queue_overtime_seconds", "By how much the worst running job exceeds its job type's time limit.", "queue"
    )
    paused = gauge("nomad_queue_paused", "Whether the queue is paused.", "queue")
    paused_since = gauge(
        "nomad_queue_paused_since_timestamp_seconds",
        "When the queue was paused; missing while it is not paused.",
        "queue",
    )
    workers = gauge("nomad_queue_workers", "Live worker processes that serve the queue.", "queue")
    recovered = CounterMetricFamily(
        "nomad_queue_recovered_total", "Jobs taken back from lost workers.", labels=["queue"]
    )
    poison = CounterMetricFamily(
        "nomad_queue_poison_total",
        "Jobs that failed because several workers were lost while running them.",
        labels=["queue"],
    )
    attempts = CounterMetricFamily(
        "nomad_job_attempts_total",
        "Runs that ended, by outcome; counted in Redis, so a killed worker loses none.",
        labels=["queue", "actor", "outcome"],
    )
    clock = gauge(
        "nomad_queue_clock_offset_seconds",
        "How far the queue's clock is behind Redis' clock, after that stepped forward; below 0 after a step back.",
        "queue",
    )
    for queue in queues:
        name, facts, oldest_ms = queue.name, queue.facts, queue.oldest_by_priority_ms
        clock.add_metric([name], facts.counts.clock_offset_ms / 1000)
        for state, count in queue.counts.items():
            jobs.add_metric([name, state], count)
        for priority in Priority:
            oldest.add_metric([name, priority.name], oldest_ms.get(priority, 0.0) / 1000)
        longest.add_metric([name], (facts.longest_active_ms or 0.0) / 1000)
        worst_ms = max((overrun.over_ms for overrun in overruns.get(name, ())), default=0)
        overtime.add_metric([name], worst_ms / 1000)
        paused.add_metric([name], queue.is_paused)
        if queue.is_paused:
            paused_since.add_metric([name], min(pause.since_ms for pause in queue.pauses) / 1000)
        workers.add_metric([name], len(queue.workers))
        recovered.add_metric([name], facts.counts.recovered)
        poison.add_metric([name], facts.counts.poison)
        for (actor, outcome), count in attempts_by_queue.get(name, {}).items():
            attempts.add_metric([name, actor, outcome], count)
    return jobs, oldest, longest, overtime, paused, paused_since, workers, recovered, poison, attempts, clock
