"""What jobs say of themselves: progress and log lines, seen while they run, kept afterwards, bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable

import dramatiq
import pytest
import redis

from nomad_actors.broker import JobBroker
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.broker.records.notes import Notes, Progress
from nomad_actors.queues import current_job
from nomad_actors.testing import FaultProxy, running


@pytest.fixture
def view(broker: JobBroker) -> QueueView:
    return broker.view("default")


def notes(view: QueueView, message: dramatiq.Message[object]) -> Notes:
    found = view.get(message.message_id)
    assert found is not None
    return found.notes


def test_progress_and_log_are_seen_while_the_job_runs_and_kept_when_it_ended(
    broker: JobBroker, view: QueueView, wait_until: Callable[..., None]
) -> None:
    go = threading.Event()

    @dramatiq.actor
    def job() -> None:
        current_job().progress(1, 4, "first page")
        current_job().log("fetched a page")
        go.wait(20)
        current_job().log("fetched the rest")
        current_job().progress(4, 4)

    message = job.send()
    with running(broker):
        wait_until(lambda: notes(view, message).progress == Progress(1, 4, "first page"))
        wait_until(lambda: [line.text for line in notes(view, message).lines] == ["fetched a page"])
        go.set()
        broker.join("default", timeout=5000)
    stored_notes = notes(view, message)
    assert stored_notes.progress == Progress(4, 4)
    assert [line.text for line in stored_notes.lines] == ["fetched a page", "fetched the rest"]


def test_a_long_log_keeps_its_last_lines_and_counts_the_dropped_ones(
    broker: JobBroker, view: QueueView, redis_client: redis.Redis
) -> None:
    @dramatiq.actor
    def job() -> None:
        for number in range(400):
            current_job().log(f"line {number} " + "x" * 200)
        current_job().log("y" * 5_000)

    message = job.send()
    with running(broker):
        broker.join("default", timeout=5000)
    stored_notes = notes(view, message)
    assert stored_notes.lines[-1].text.endswith("[4000 characters left out]")
    assert stored_notes.lines[-2].text.startswith("line 399 ")
    assert stored_notes.dropped + len(stored_notes.lines) == 401
    assert redis_client.hstrlen("nomad:{default}:notes", redis_client.hkeys("nomad:{default}:notes")[0]) < 17_000


@pytest.mark.parametrize("side", ["cut_before", "cut_after"])
def test_a_report_whose_reply_is_cut_is_kept_once(
    make_broker: Callable[..., JobBroker], proxy: FaultProxy, side: str
) -> None:
    broker = make_broker(url=proxy.url)

    def job() -> None:
        current_job().log("one")
        current_job().log("two")

    message = dramatiq.actor(job, broker=broker).send()
    getattr(proxy, side)(lambda command: command.name == "report")
    with running(broker):
        broker.join("default", timeout=10_000)
    assert proxy.cuts == ["report"]
    assert [line.text for line in notes(broker.view("default"), message).lines] == ["one", "two"]


def test_a_second_run_goes_on_with_the_log_of_the_first(broker: JobBroker, view: QueueView) -> None:
    @dramatiq.actor(max_retries=1, min_backoff=1)
    def job() -> None:
        current_job().log(f"attempt {current_job().attempt}")
        if current_job().attempt == 1:
            raise ValueError("once")

    message = job.send()
    with running(broker):
        broker.join("default", timeout=5000)
    assert [line.text for line in notes(view, message).lines] == ["attempt 1", "attempt 2"]


def test_notes_go_with_their_job_and_start_afresh_with_the_operators_retry(
    broker: JobBroker, view: QueueView, redis_client: redis.Redis
) -> None:
    @dramatiq.actor
    def job() -> None:
        current_job().progress(1, 2)

    first, second = job.send(), job.send()
    with running(broker):
        broker.join("default", timeout=5000)
    found = view.get(first.message_id)
    assert found is not None
    assert view.retry(found) == "ok"
    assert notes(view, first) == Notes()
    assert view.remove(second.message_id) == "ok"
    assert redis_client.hlen("nomad:{default}:notes") == 0
