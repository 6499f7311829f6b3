"""While a job runs, every line its thread writes says which job; afterwards none does."""

from __future__ import annotations

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import SkipMessage

from nomad_actors.logs import JOB_FACTS
from nomad_actors.middleware.job_context import JobContext


def facts():
    """Return what a log line written here would say about a job."""
    tell = JOB_FACTS.get()
    return tell() if tell else {}


class _Skips(dramatiq.Middleware):
    def before_process_message(self, broker, message):
        raise SkipMessage


@pytest.fixture
def broker():
    broker = StubBroker(middleware=[JobContext()])
    yield broker
    broker.close()


@pytest.fixture
def run(broker):
    """Run one message and return what was bound inside its actor and, on the same thread, after it."""

    def run_one(actor, *args, **kwargs):
        after = []

        class _After(dramatiq.Middleware):
            def after_ack(self, broker, message):
                after.append(facts())

        broker.add_middleware(_After())
        worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
        worker.start()
        try:
            sent = actor.send_with_options(args=args, kwargs=kwargs)
            broker.join(actor.queue_name)
            worker.join()
        finally:
            worker.stop()
        return sent, after[0]

    return run_one


def test_the_facts_of_the_job_are_bound_and_let_go(broker, run):
    seen = []
    actor = dramatiq.actor(lambda **payload: seen.append(facts()), broker=broker, actor_name="a", queue_name="q")
    sent, after = run(actor, character_id=7, user_id="u")
    assert seen == [{"job_id": sent.message_id, "queue": "q", "actor": "a", "attempt": 1, "character_id": 7}]
    assert after == {}


def test_a_payload_that_is_the_first_argument_is_read_too(broker, run):
    seen = []
    actor = dramatiq.actor(lambda data: seen.append(facts()), broker=broker, actor_name="a")
    run(actor, {"character_id": 8})
    assert seen[0]["character_id"] == 8


@pytest.mark.filterwarnings("ignore")
def test_a_job_that_raises_leaves_nothing_behind(broker, run):
    def fail():
        raise ValueError("no")

    _, after = run(dramatiq.actor(fail, broker=broker, actor_name="a"))
    assert after == {}


def test_a_skipped_job_leaves_nothing_behind(broker, run):
    broker.add_middleware(_Skips())
    _, after = run(dramatiq.actor(lambda: None, broker=broker, actor_name="a"))
    assert after == {}
