"""A batch of values is counted like single values."""

from __future__ import annotations

import random

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from nomad_actors.metrics.definitions import BatchHistogram


def test_a_batch_equals_single_observations() -> None:
    draw = random.Random(6)
    # Powers of two, so that sums do not depend on their order; the bounds themselves are among them.
    amounts = [draw.choice([0.25, 0.5, 1.0, 2.0, 4.0, 64.0, 0.0]) for _ in range(500)]
    single, batch = CollectorRegistry(), CollectorRegistry()
    one = Histogram("h", "H.", ("label",), buckets=(0.5, 1.0, 4.0), registry=single).labels("a")
    for amount in amounts:
        one.observe(amount)
    many = BatchHistogram("h", "H.", ("label",), buckets=(0.5, 1.0, 4.0), registry=batch).labels("a")
    many.observe_all([])
    for start in range(0, len(amounts), 7):
        many.observe_all(amounts[start : start + 7])
    assert generate_latest(batch) == generate_latest(single)
