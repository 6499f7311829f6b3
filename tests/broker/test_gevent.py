"""Under gevent a thread is a greenlet: what interrupts a thread of Python's must interrupt that."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dramatiq
import pytest

from nomad_actors.broker import JobBroker
from nomad_actors.broker.client.queue_view import QueueView
from nomad_actors.broker.records.stored_job import StoredJob

pytest.importorskip("gevent")
pytestmark = pytest.mark.slow

APPLICATION = """
import os, time
import dramatiq
from nomad_actors.broker import JobBroker

broker = JobBroker(url=os.environ["REDIS_URL"], shutdown_ms=1000)
dramatiq.set_broker(broker)

@dramatiq.actor(max_retries=3, min_backoff=1)
def waits(seconds):
    time.sleep(seconds)

@dramatiq.actor(max_retries=3, min_backoff=1)
def turns():
    while True:
        time.sleep(0)

@dramatiq.actor(max_retries=0, time_limit=1)
def limited():
    time.sleep(60)

@dramatiq.actor
def quick():
    pass
"""


@contextlib.contextmanager
def dramatiq_gevent(directory: Path, redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dramatiq-gevent` for the time of a `with`."""
    (directory / "gevent_application.py").write_text(APPLICATION)
    root = Path(__file__).resolve().parent.parent.parent
    environ = {**os.environ, "REDIS_URL": redis_url, "PYTHONPATH": f"{directory}{os.pathsep}{root}"}
    command = [str(Path(sys.executable).with_name("dramatiq-gevent")), "gevent_application:broker"]
    with (directory / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [*command, "-p", "1", "-t", "4"],
            cwd=directory,
            env=environ,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_what_interrupts_a_thread_interrupts_a_greenlet(
    broker: JobBroker, tmp_path: Path, redis_url: str, wait_until: Callable[..., None]
) -> None:
    view = broker.view("default")
    waits, turns, limited = (dramatiq.actor(lambda *_: None, actor_name=name) for name in ("waits", "turns", "limited"))
    with dramatiq_gevent(tmp_path, redis_url) as process:
        cancelled = [waits.send(60), turns.send()]
        wait_until(lambda: view.counts().active == 2, timeout_seconds=30, what=(tmp_path / "output.log").read_text())
        for message in cancelled:
            assert view.cancel(message.message_id, "enough") == "asked"
        # Long before the next heartbeat.
        wait_until(lambda: view.counts().failed == 2, timeout_seconds=5)
        assert {stored(view, message).reason() for message in cancelled} == {"enough"}
        _cancel_as_they_end(view, waits, wait_until)
        late = limited.send()
        wait_until(lambda: stored(view, late).state == "failed")
        assert "TimeLimitExceeded" in (stored(view, late).reason() or "")
        given_back = waits.send(60)
        wait_until(lambda: view.counts().active == 1)
        process.terminate()
        process.wait(timeout=30)
    job = stored(view, given_back)
    assert job.record is not None
    assert (job.state, job.record.header.attempts) == ("waiting", 0)


def _cancel_as_they_end(view: QueueView, waits: dramatiq.Actor[[float], None], wait_until: Callable[..., None]) -> None:
    """Cancel jobs at about the moment that they end by themselves: no other job on their greenlets is struck."""
    for _ in range(20):
        victims = [waits.send(0.002) for _ in range(2)]
        innocents = [waits.send(0.001) for _ in range(6)]
        for victim in victims:
            view.cancel(victim.message_id, "now")
        wait_until(lambda: not view.counts().waiting and not view.counts().active)
        assert {stored(view, innocent).state for innocent in innocents} == {"completed"}


def stored(view: QueueView, message: dramatiq.Message[None]) -> StoredJob:
    found = view.get(message.message_id)
    assert found is not None
    return found
