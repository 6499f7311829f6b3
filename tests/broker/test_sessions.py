"""Several Workers of one broker, in turn, at once, and in processes that are forked: each job has its thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.worker import ConsumerThread

from nomad_actors.broker import JobBroker, State
from nomad_actors.broker.errors import WorkerStopped
from nomad_actors.testing import running


def test_a_queue_that_is_declared_after_a_worker_stopped_is_left_to_the_next(
    broker: JobBroker, wait_until: Callable[..., None]
) -> None:
    dramatiq.actor(lambda: None, actor_name="first")
    with running(broker, threads=2):
        pass
    ran = threading.Event()
    message = dramatiq.actor(ran.set, actor_name="late", queue_name="late").send()
    view = broker.view("late")
    # A consumer of the Worker that stopped would have taken it by then.
    assert not ran.wait(0.3)
    stored = view.get(message.message_id)
    assert stored is not None
    assert stored.state is State.WAITING
    assert view.facts().workers == []
    with running(broker, threads=2) as worker:
        assert ran.wait(5)
        assert set(worker.consumers) == {"default", "late"}
        # Declared while one runs, it is served at once.
        later = threading.Event()
        dramatiq.actor(later.set, actor_name="later", queue_name="later").send()
        assert later.wait(5)
    assert len(broker.middleware) == len(JobBroker(client=broker.client).middleware)


def test_a_consumer_thread_of_a_stopped_worker_gets_no_jobs(broker: JobBroker) -> None:
    broker.declare_queue("default")
    with running(broker, threads=1) as worker:
        pass
    caught: list[BaseException] = []

    class Consumer(ConsumerThread):
        def run(self) -> None:
            try:
                self.broker.consume("default")
            except WorkerStopped as error:
                caught.append(error)

    thread = Consumer(broker=broker, queue_name="default", prefetch=1, work_queue=worker.work_queue, worker_timeout=100)
    thread.start()
    thread.join(5)
    assert caught


def test_two_workers_at_once_run_their_own_jobs_and_stop_by_themselves(
    broker: JobBroker, wait_until: Callable[..., None]
) -> None:
    ran_by: dict[str, str] = {}
    both = threading.Barrier(2)

    def together() -> None:
        both.wait(10)

    @dramatiq.actor
    def job(name: str) -> None:
        ran_by[name] = threading.current_thread().name

    pair = dramatiq.actor(together, actor_name="together")
    first = Worker(broker, worker_threads=1, worker_timeout=100)
    second = Worker(broker, worker_threads=1, worker_timeout=100)
    try:
        first.start()
        second.start()
        # One thread each: these two end only when both Workers run one.
        for _ in range(2):
            pair.send()
        wait_until(lambda: broker.view("default").counts().completed == 2)
        assert len(broker.view("default").facts().workers) == 2
        first.stop()
        job.send("after the first stopped")
        wait_until(lambda: ran_by)
        assert ran_by["after the first stopped"] in [thread.name for thread in second.workers]
        # What is declared now is the second's alone.
        served = threading.Event()
        dramatiq.actor(served.set, actor_name="late", queue_name="late").send()
        assert served.wait(5)
        assert "late" not in first.consumers
    finally:
        second.stop()
        if first.consumers and any(thread.is_alive() for thread in first.workers):
            first.stop()
    assert broker.view("default").facts().workers == []
    assert broker.view("default").counts().active == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_none_of_its_parents_workers(broker: JobBroker, wait_until: Callable[..., None]) -> None:
    broker.declare_queue("default")
    ran: list[int] = []
    dramatiq.actor(lambda: ran.append(os.getpid()), actor_name="job")
    with running(broker, threads=2):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                actor = dramatiq.actor(lambda: None, actor_name="of the child", queue_name="child")
                actor.send()
                broker.actors["job"].send()
                is_free = broker._session is None and not any(
                    isinstance(thread, ConsumerThread) for thread in threading.enumerate()
                )
                # A Worker of its own is one of this process.
                with running(broker, threads=1, queues={"child"}):
                    broker.join("child", timeout=5000)
                code = 0 if is_free else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        wait_until(lambda: ran == [os.getpid()])
        (session,) = broker._sessions._of.values()
        assert session.pid == os.getpid()
    assert broker.view("child").counts().completed == 1
