"""`periodic=` is legal and makes no run vanish."""

from __future__ import annotations

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Retries
from periodiq import PeriodiqMiddleware, cron

from nomad_actors.middleware.order import PeriodicOption

LONG_AGO = "2020-01-01T00:00:00+00:00"


def run(middleware) -> list[str]:
    """Return the runs of a periodic actor whose message is years late and whose first run fails."""
    runs: list[str] = []

    def tick() -> None:
        runs.append("run")
        if len(runs) == 1:
            raise ValueError("try again")

    broker = StubBroker(middleware=[middleware, Retries(max_retries=1, min_backoff=1)])
    actor = dramatiq.actor(tick, broker=broker, periodic=cron("* * * * *"))
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    worker.start()
    try:
        actor.send_with_options(scheduled_at=LONG_AGO)
        broker.join("default", timeout=10_000)
        worker.join()
    finally:
        worker.stop()
        broker.close()
    return runs


def test_a_late_run_and_its_retry_both_happen():
    assert run(PeriodicOption()) == ["run", "run"]


def test_periodiqs_own_middleware_would_have_dropped_them():
    assert run(PeriodiqMiddleware()) == []


def test_the_option_is_refused_without_it():
    broker = StubBroker(middleware=[])
    with pytest.raises(ValueError, match="periodic"):
        dramatiq.actor(lambda: None, broker=broker, actor_name="a", periodic=cron("* * * * *"))
