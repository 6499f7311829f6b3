"""What happens to a job is counted and timed once, under the right name, from zero."""

from __future__ import annotations

import urllib.request

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from nomad_actors.broker.endings import Outcome
from nomad_actors.metrics.definitions import REGISTRY
from nomad_actors.middleware.metrics import Metrics

LABELS = {"queue": "metrics-queue", "actor": "metrics-actor"}


@pytest.fixture
def metrics():
    return Metrics(port=0)


@pytest.fixture
def broker(metrics):
    broker = StubBroker(middleware=[metrics])
    dramatiq.actor(lambda: None, actor_name="metrics-actor", queue_name="metrics-queue", broker=broker)
    yield broker
    broker.close()


@pytest.fixture
def counted():
    """Return what was added to a sample since the test began."""

    def read(name, labels):
        return REGISTRY.get_sample_value(name, labels) or 0.0

    before = {(s.name, frozenset(s.labels.items())): s.value for m in REGISTRY.collect() for s in m.samples}
    return lambda name, **labels: read(name, labels) - before.get((name, frozenset(labels.items())), 0.0)


def test_all_series_of_an_actor_exist_once_it_is_declared(broker):
    for name in ("nomad_jobs_enqueued_total", "nomad_job_duration_seconds_count", "nomad_job_wait_seconds_count"):
        assert REGISTRY.get_sample_value(name, LABELS) is not None


def test_so_do_those_of_jobs_that_nobody_here_knows_once_their_queue_is_declared(broker):
    unknown = {"queue": "metrics-queue", "actor": "unknown"}
    assert REGISTRY.get_sample_value("nomad_job_wait_seconds_count", unknown) is not None


def test_each_job_added_is_counted(broker, counted):
    broker.get_actor("metrics-actor").send()
    broker.get_actor("metrics-actor").send()
    assert counted("nomad_jobs_enqueued_total", **LABELS) == 2


def test_wait_and_duration_are_in_seconds(metrics, broker, counted, ended):
    metrics.after_settle(broker, [ended(**LABELS, wait_ms=250.0, run_ms=600.0)])
    assert counted("nomad_job_wait_seconds_sum", **LABELS) == pytest.approx(0.25)
    assert counted("nomad_job_duration_seconds_sum", **LABELS) == pytest.approx(0.6)
    assert counted("nomad_job_duration_seconds_bucket", **LABELS, le="0.5") == 0
    assert counted("nomad_job_duration_seconds_bucket", **LABELS, le="1.0") == 1


@pytest.mark.parametrize(
    ("outcome", "waits", "durations"),
    [
        (Outcome.COMPLETED, 1, 1),
        (Outcome.FAILED, 1, 0),
        (Outcome.RETRIED, 1, 0),
        (Outcome.SKIPPED, 1, 0),
        (Outcome.RELEASED, 0, 0),
        (Outcome.RECOVERED, 0, 0),
    ],
)
def test_only_completed_runs_are_timed_and_a_released_one_will_wait_again(
    metrics, broker, counted, ended, outcome, waits, durations
):
    metrics.after_settle(broker, [ended(**LABELS, outcome=outcome)])
    assert counted("nomad_job_wait_seconds_count", **LABELS) == waits
    assert counted("nomad_job_duration_seconds_count", **LABELS) == durations


def test_actors_that_nobody_declared_share_one_series(metrics, broker, counted, ended):
    for i in range(50):
        metrics.after_settle(broker, [ended(queue="metrics-queue", actor=f"junk-{i}", outcome=Outcome.FAILED)])
    assert counted("nomad_job_wait_seconds_count", queue="metrics-queue", actor="unknown") == 50
    assert not [s for m in REGISTRY.collect() for s in m.samples if s.labels.get("actor", "").startswith("junk")]


def test_an_actor_declared_later_gets_its_own_series(metrics, broker, counted, ended):
    late = ended(queue="metrics-queue", actor="late-actor")
    metrics.after_settle(broker, [late])
    dramatiq.actor(lambda: None, actor_name="late-actor", queue_name="metrics-queue", broker=broker)
    metrics.after_settle(broker, [late])
    assert counted("nomad_job_wait_seconds_count", queue="metrics-queue", actor="late-actor") == 1


def test_a_worker_serves_its_metrics_while_it_runs(metrics, broker):
    assert metrics.port is None
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    worker.start()
    try:
        url = f"http://127.0.0.1:{metrics.port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as response:
            assert b'nomad_job_wait_seconds_count{actor="metrics-actor"' in response.read()
    finally:
        worker.stop()
    assert metrics.port is None


def test_a_worker_whose_port_is_taken_uses_the_next_free_one(metrics, broker):
    first = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    first.start()
    second_metrics = Metrics(port=metrics.port)
    second_broker = StubBroker(middleware=[second_metrics])
    second = dramatiq.Worker(second_broker, worker_threads=1, worker_timeout=50)
    try:
        second.start()
        assert second_metrics.port > metrics.port
    finally:
        second.stop()
        first.stop()
