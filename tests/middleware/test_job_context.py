"""Every line that a thread writes while it runs a job names the job; no line does so afterwards."""

from __future__ import annotations

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import SkipMessage

from nomad_actors.logs import JOB_FACTS
from nomad_actors.middleware.job_context import JobContext


def facts():
    """Return the job facts that a log line written here would contain."""
    read = JOB_FACTS.get()
    return read() if read else {}


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
    """Run one message; return it and the facts that its thread had afterwards."""

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


def test_the_facts_of_a_job_are_set_during_its_run_only(broker, run):
    seen = []
    actor = dramatiq.actor(lambda **payload: seen.append(facts()), broker=broker, actor_name="a", queue_name="q")
    sent, after = run(actor, character_id=7, user_id="u")
    assert seen == [{"job_id": sent.message_id, "queue": "q", "actor": "a", "attempt": 1, "character_id": 7}]
    assert after == {}


def test_a_payload_may_be_the_first_argument(broker, run):
    seen = []
    actor = dramatiq.actor(lambda data: seen.append(facts()), broker=broker, actor_name="a")
    run(actor, {"character_id": 8})
    assert seen[0]["character_id"] == 8


@pytest.mark.filterwarnings("ignore")
def test_a_job_that_raises_leaves_no_facts(broker, run):
    def fail():
        raise ValueError("no")

    _, after = run(dramatiq.actor(fail, broker=broker, actor_name="a"))
    assert after == {}


def test_a_skipped_job_leaves_no_facts(broker, run):
    broker.add_middleware(_Skips())
    _, after = run(dramatiq.actor(lambda: None, broker=broker, actor_name="a"))
    assert after == {}
