"""A worker that has lost a thread it cannot do without ends itself, loudly: it never stands there doing nothing."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import dramatiq
import pytest
from dramatiq.threading import Interrupt, raise_thread_exception

from nomad_actors.broker import JobBroker
from nomad_actors.broker.endings import Ended
from nomad_actors.broker.errors import WorkerBroken
from nomad_actors.broker.worker import watch
from nomad_actors.broker.worker.watch import EXIT_BROKEN, Failure
from nomad_actors.testing import running

# A strike waits for the pump's next heartbeat, or the next block of the waiter.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    # A strike may hit a thread that is just making a socket, which nobody has then.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.parametrize("lease_ms", [1_000]),
]


def end_thread(thread: threading.Thread, wake: Callable[[], object] = lambda: None) -> None:
    """End a thread however well it guards itself: strike it until one of the strikes hits the guard.

    `wake` ends what it waits for.
    """
    deadline = time.monotonic() + 20
    while thread.is_alive():
        assert time.monotonic() < deadline
        raise_thread_exception(thread.ident, Interrupt)
        wake()
        time.sleep(0.01)


@pytest.fixture(scope="module", autouse=True)
def sockets_of_nobody() -> Iterator[None]:
    """Leave none of those sockets to the next file's tests, in which they would be found."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Failures(dramatiq.Middleware):
    """Collects the failures that middleware gets."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def after_worker_broken(self, broker: dramatiq.Broker, failure: Failure) -> None:
        self.failures.append(failure)


@pytest.mark.parametrize("name", ["nomad-pump", "nomad-waiter"])
def test_a_worker_inside_an_application_is_stopped_and_another_may_be_started(
    broker: JobBroker, name: str, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    broken_hook = Failures()
    broker.add_middleware(broken_hook)
    began, interrupted = threading.Event(), threading.Event()

    @dramatiq.actor(max_retries=0)
    def job(runs_on: bool) -> None:
        if not runs_on:
            return
        began.set()
        try:
            while True:
                time.sleep(0.001)
        finally:
            interrupted.set()

    with running(broker, threads=2) as worker:
        job.send(True)
        assert began.wait(5)
        session = broker._session
        assert session is not None
        thread = session._pump if name == "nomad-pump" else session._waiter.thread
        threading.Thread(target=end_thread, args=(thread, lambda: job.send(False))).start()
        # Nothing that it runs can be settled any more, and others take it over.
        assert interrupted.wait(10)
        wait_until(lambda: not any(thread.is_alive() for thread in (*worker.workers, *worker.consumers.values())))
        wait_until(lambda: broker._session is not session)
    assert f"this worker cannot go on: its thread {name} ended; it stops" in caplog.text
    assert [failure.reason for failure in broken_hook.failures] == [f"its thread {name} ended"]
    assert isinstance(broken_hook.failures[0].error, Interrupt)
    short = job.send(False)
    with running(broker, threads=2):
        wait_until(lambda: (stored := broker.view("default").get(short.message_id)) and stored.state == "completed")


def test_a_consumer_outside_a_worker_raises_worker_broken(broker: JobBroker, wait_until: Callable[..., None]) -> None:
    broker.declare_queue("default")
    consumer = broker.consume("default", timeout=100)
    assert next(consumer) is None
    session = broker._session
    assert session is not None
    end_thread(session._pump)
    wait_until(lambda: session.failure is not None)
    with pytest.raises(WorkerBroken, match="nomad-pump ended"):
        next(consumer)


def test_a_worker_whose_pump_hangs_is_ended(
    broker: JobBroker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wait_until: Callable[..., None],
) -> None:
    monkeypatch.setattr(watch, "CHECKS_WITHOUT_PROGRESS", 2)
    resume = threading.Event()

    class Stuck(dramatiq.Middleware):
        def after_settle(self, broker: dramatiq.Broker, endings: list[Ended]) -> None:
            resume.wait(30)

    broker.add_middleware(Stuck())
    dramatiq.actor(lambda: None, actor_name="job").send()
    with running(broker, threads=1) as worker:
        wait_until(lambda: not worker.workers[0].is_alive(), timeout_seconds=10)
        resume.set()
    assert "its thread nomad-pump has hung for 2 s in after_settle of Stuck; it stops" in caplog.text
    assert "in after_settle\n    resume.wait(30)" in caplog.text


def test_an_idle_worker_does_not_stand_still(
    broker: JobBroker, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(watch, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(watch, "CHECKS_WITHOUT_PROGRESS", 5)
    actor = dramatiq.actor(lambda: None, actor_name="job")
    with running(broker, threads=1):
        time.sleep(0.5)
        session = broker._session
        assert session is not None
        assert session.failure is None
        actor.send()
        wait_until(lambda: broker.view("default").counts().completed == 1)


APPLICATION = """
import os, threading, time
import dramatiq
from nomad_actors.broker import JobBroker
from tests.broker.test_broken import end_thread

broker = JobBroker(url=os.environ["REDIS_URL"], lease_ms=1_000)
dramatiq.set_broker(broker)

class Last(dramatiq.Middleware):
    def after_worker_shutdown(self, broker, worker):
        print("written down at the end", flush=True)

broker.add_middleware(Last())

@dramatiq.actor
def light():
    pass

@dramatiq.actor
def deadly(name):
    session = broker._session
    threads = {"nomad-pump": session._pump, "nomad-waiter": session._waiter.thread}
    end_thread(threads[name], light.send)
    time.sleep(60)
"""


@contextlib.contextmanager
def command_line(directory: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run Dramatiq's own command line for the time of a `with`; its workers go with it."""
    with (directory / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("dramatiq")), "broken_application:broker", "-p", "1", "-t", "2"],
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nomad-pump", "nomad-waiter"])
def test_dramatiqs_command_line_exits_with_a_code_on_which_a_supervisor_restarts_it(
    broker: JobBroker, redis_url: str, tmp_path: Path, name: str
) -> None:
    (tmp_path / "broken_application.py").write_text(APPLICATION)
    root = Path(__file__).resolve().parent.parent.parent
    environ = {**os.environ, "REDIS_URL": redis_url, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    dramatiq.actor(lambda name: None, actor_name="deadly").send(name)
    with command_line(tmp_path, environ) as process:
        code = process.wait(timeout=40)
    logged = (tmp_path / "output.log").read_text(errors="replace")
    assert code == EXIT_BROKEN, logged
    assert f"this worker cannot go on: its thread {name} ended; the process ends" in logged
    assert "written down at the end" in logged
