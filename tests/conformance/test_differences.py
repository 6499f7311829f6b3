"""The documented differences from Dramatiq's Redis broker, measured on both."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dramatiq
import pytest
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker

from nomad_actors.broker import JobBroker
from nomad_actors.testing import running, wait_until
from tests.conformance.conftest import System

DOCS = Path(__file__).resolve().parents[2] / "docs" / "dramatiq.md"
TIMEOUT_MS = 20_000


def twice(broker: dramatiq.Broker) -> str:
    """Enqueue one message twice before it runs."""
    ran: list[int] = []
    job = dramatiq.actor(lambda: ran.append(1), actor_name="job")
    message = job.message()
    broker.enqueue(message)
    broker.enqueue(message)
    drain(broker)
    return f"runs {['never', 'once', 'twice'][len(ran)]}"


def priority(broker: dramatiq.Broker) -> str:
    """Send an urgent job behind fifty others, to one thread."""
    ran: list[str] = []
    low = dramatiq.actor(lambda: ran.append("low"), actor_name="low", priority=5)
    high = dramatiq.actor(lambda: ran.append("high"), actor_name="high", priority=1)
    for _ in range(50):
        low.send()
    high.send()
    drain(broker, threads=1)
    return "starts first" if ran.index("high") == 0 else "waits behind those sent before it"


def undecided(broker: dramatiq.Broker) -> str:
    """Raise in `retry_when`."""

    def broken(retries: int, error: BaseException) -> bool:
        raise RuntimeError("retry_when failed")

    job = dramatiq.actor(lambda: 1 / 0, actor_name="job", retry_when=broken)
    job.send()
    drain(broker)
    if isinstance(broker, JobBroker):
        return "fails, with its error" if broker.view("default").counts().failed == 1 else "is lost"
    dead = broker.client.zcard(f"{broker.namespace}:default.XQ")
    return "is dropped as if it had succeeded" if dead == 0 else "fails"


def completed(broker: dramatiq.Broker) -> str:
    """Look for a job that has completed."""
    message = dramatiq.actor(lambda: None, actor_name="job").send()
    drain(broker)
    if isinstance(broker, JobBroker):
        return "is kept with its timeline" if broker.view("default").get(message.message_id) else "is gone"
    return "is gone" if not any(b"default" in key for key in broker.client.keys("*")) else "is kept"


def ahead(broker: dramatiq.Broker) -> str:
    """Count the jobs that leave the queue while the only thread is busy."""
    go = threading.Event()
    job = dramatiq.actor(lambda: go.wait(10), actor_name="job")
    for _ in range(20):
        job.send()
    with running(broker, threads=1):
        taken = 0

        def settled() -> bool:
            nonlocal taken
            before, taken = taken, 20 - waiting(broker)
            return taken > 0 and before == taken

        time.sleep(0.3)
        wait_until(settled)
        go.set()
        broker.join("default", timeout=TIMEOUT_MS)
    return "takes what it can start" if taken == 1 else "takes more than it can start"


def unknown(broker: dramatiq.Broker) -> str:
    """Send a job whose actor this worker does not have."""
    dramatiq.actor(lambda: None, actor_name="known")
    broker.enqueue(Message(queue_name="default", actor_name="newer", args=(), kwargs={}, options={}))
    with running(broker):
        if isinstance(broker, JobBroker):
            wait_until(lambda: broker.view("default").counts().delayed == 1)
            return "is offered again for 10 minutes"
        assert isinstance(broker, RedisBroker)
        wait_until(lambda: broker.client.zcard(f"{broker.namespace}:default.XQ") == 1)
        return "is dead at once"


def delay_signal(broker: dramatiq.Broker) -> str:
    """Listen for `before_delay_message`."""
    signals: list[str] = []

    class Listener(dramatiq.Middleware):
        def before_delay_message(self, broker: dramatiq.Broker, message: Message[object]) -> None:
            signals.append("before_delay_message")

    broker.add_middleware(Listener())
    dramatiq.actor(lambda: None, actor_name="job").send_with_options(delay=50)
    drain(broker)
    return "is emitted" if signals else "is not emitted"


def delay_queues(broker: dramatiq.Broker) -> str:
    """List the delay queues of a broker with one queue."""
    dramatiq.actor(lambda: None, actor_name="job")
    return ", ".join(sorted(broker.get_declared_delay_queues())) or "none"


def result_ttl(broker: dramatiq.Broker) -> str:
    """Read a result after its `result_ttl`."""
    job = dramatiq.actor(lambda: 42, actor_name="job", store_results=True, result_ttl=100)
    message = job.send()
    drain(broker)
    time.sleep(0.3)
    try:
        return "is kept with its job" if message.get_result() == 42 else "is wrong"
    except dramatiq.results.ResultMissing:
        return "is gone"


def too_old(broker: dramatiq.Broker) -> str:
    """Look for a job that was older than its `max_age`."""
    job = dramatiq.actor(lambda: None, actor_name="job", max_age=50)
    message = job.send()
    time.sleep(0.1)
    drain(broker)
    if isinstance(broker, JobBroker):
        stored = broker.view("default").get(message.message_id)
        assert stored is not None
        return f"{stored.state.value}: {stored.reason()}"
    dead = broker.client.zcard(f"{broker.namespace}:default.XQ")
    return "dead, without a reason" if dead == 1 else "gone"


MEASURED: dict[str, Callable[[dramatiq.Broker], str]] = {
    "A message enqueued twice before it runs": twice,
    "An urgent job behind fifty others": priority,
    "A job whose `retry_when` raises": undecided,
    "A completed job": completed,
    "A worker whose threads are busy": ahead,
    "A job of an actor that this worker does not have": unknown,
    "`before_delay_message`": delay_signal,
    "`get_declared_delay_queues()` with one queue": delay_queues,
    "A result after its `result_ttl`": result_ttl,
    "A job older than its `max_age`": too_old,
}


def drain(broker: dramatiq.Broker, *, threads: int = 8) -> None:
    """Run a worker until the queue is empty."""
    with running(broker, threads=threads):
        broker.join("default", timeout=TIMEOUT_MS)


def waiting(broker: dramatiq.Broker) -> int:
    """Return how many jobs are still in the queue."""
    if isinstance(broker, JobBroker):
        return broker.view("default").counts().waiting
    assert isinstance(broker, RedisBroker)
    return int(broker.client.llen(f"{broker.namespace}:default"))


def table() -> dict[str, tuple[str, str]]:
    """Return the documented rows: what Dramatiq's broker does and what ours does, by subject."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| .+? \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    return {what: (stock, ours) for what, stock, ours in rows if what in MEASURED}


def test_the_documented_table_has_each_measured_difference() -> None:
    assert list(table()) == list(MEASURED)


@pytest.mark.parametrize("what", MEASURED)
@pytest.mark.parametrize("name", ["dramatiq", "nomad-actors"])
def test_the_documented_behaviour_is_the_measured_one(what: str, name: str, make: Callable[[str], System]) -> None:
    documented = table()[what][("dramatiq", "nomad-actors").index(name)]
    assert MEASURED[what](make(name).broker) == documented
