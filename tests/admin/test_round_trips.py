"""What a request costs in round trips to Redis: as many with forty queues as with eight."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import redis
from flask.testing import FlaskClient

from admin import create_app
from nomad_actors.queues.overruns import read_overruns
from nomad_actors.testing import running

from .conftest import QUEUES, AdminApp, gate, job_type_of, make_app, operator_client

MOST_OF_OVERVIEW = 12
OF_RETRY = 2


class CountedConnection(redis.Connection):
    """A connection that counts what each thread sends: a pipeline, and whatever else goes out in one piece, once."""

    sent: ClassVar[Counter[int]] = Counter()

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        CountedConnection.sent[threading.get_ident()] += 1
        super().send_packed_command(command, check_health)


@pytest.fixture
def counted(redis_url: str, tmp_path: Path) -> Iterator[AdminApp]:
    app = make_app(redis_url, tmp_path, connection_class=CountedConnection)
    app.simulate_scheduler()
    yield app
    gate.set()
    app.close()


@pytest.fixture
def asking(counted: AdminApp) -> FlaskClient:
    return operator_client(create_app(counted), counted)


@contextmanager
def filled(app: AdminApp, queues: int, wait_until: Callable[..., None]) -> Iterator[None]:
    """Have so many queues: in each a job that failed and one that waits; one that runs too long, one of a schedule."""
    more = [f"more-{number}" for number in range(queues - len(QUEUES))]
    for name in more:
        app.queues.register(replace(job_type_of(name), time_limit_ms=1_000))
    names = (*QUEUES, *more)
    for name in names:
        app.add(name, fail=True)
    app.schedules.schedule_job("nightly", "0 3 * * *", ("cache-cleanup-work", {"character_id": 7}))
    with running(app.broker):
        wait_until(lambda: all(not app.queues.get_queue(name).counts()["waiting"] for name in names))
        for name in names:
            app.queues.get_queue(name).pause()
            app.add(name)
        app.schedules.run_job("nightly")
        slow = app.queues.get_queue("more-0")
        slow.resume()
        app.add("more-0", wait=True)
        wait_until(lambda: read_overruns(app.queues, [slow.snapshot()]).get("more-0"))
        yield
        gate.set()


def round_trips(ask: Callable[[], Any]) -> int:
    """Return how many round trips a request takes, once connections are made and scripts are known."""
    ask()
    # Not what the worker says meanwhile, in threads of its own.
    before = CountedConnection.sent[threading.get_ident()]
    response = ask()
    assert response.status_code in (200, 202, 503), response.text
    return CountedConnection.sent[threading.get_ident()] - before


@pytest.mark.parametrize("queues", [8, 40])
def test_the_overview_and_the_health_cost_the_same_however_many_queues_there_are(
    asking: FlaskClient, counted: AdminApp, wait_until: Callable[..., None], queues: int
) -> None:
    with filled(counted, queues, wait_until):
        assert len(counted.queues.names()) == queues
        for path in ("/admin/", "/admin/jobs/health"):
            assert 0 < round_trips(lambda path=path: asking.get(path)) <= MOST_OF_OVERVIEW, path  # type: ignore[misc]


def test_the_retry_of_a_job_and_of_many_costs_two(asking: FlaskClient, counted: AdminApp) -> None:
    jobs = [counted.add(fail=True) for _ in range(3)]
    counted.run_all()
    queue = "/admin/jobs/queues/token-refresh"
    ids = iter(jobs)
    assert round_trips(lambda: asking.post(f"{queue}/jobs/{next(ids)}/retry", json={})) == OF_RETRY
    body = {"action": "retry", "filter": {"status": ["failed"]}, "dryRun": False}
    assert round_trips(lambda: asking.post(f"{queue}/bulk", json=body)) == OF_RETRY
