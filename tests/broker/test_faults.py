"""Replies that are lost, lines that are cut, a Redis that goes away: nothing is lost, nothing is doubled."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import dramatiq
import pytest
import redis

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, RedisUnavailable, State
from nomad_actors.broker.client.finder import Span
from nomad_actors.broker.client.slots import Claim
from nomad_actors.broker.endings import Ended, Outcome
from nomad_actors.broker.scripts import scripts
from nomad_actors.broker.worker.lease import CURRENT
from nomad_actors.processes.local_redis import LocalRedis
from nomad_actors.testing import Command, FaultProxy, running
from tests.broker.conftest import Endings


@pytest.fixture
def through_proxy(make_broker: Callable[..., JobBroker], proxy: FaultProxy) -> JobBroker:
    """A broker that speaks to Redis through the faulty line."""
    broker = make_broker(url=proxy.url)
    dramatiq.set_broker(broker)
    return broker


def named(*names: str) -> Callable[[Command], bool]:
    return lambda command: command.name in names


# Every script that a caller or a worker runs by itself, and what makes it run.
CALLERS_SCRIPTS = sorted(
    set(scripts()) - {"start", "settle", "heartbeat", "forget_workers", "set_limits", "set_retention", "peek", "report"}
)


@pytest.mark.parametrize("script", CALLERS_SCRIPTS)
@pytest.mark.parametrize("side", ["cut_before", "cut_after"])
def test_a_callers_script_whose_reply_is_cut_has_its_effect_once(
    through_proxy: JobBroker, proxy: FaultProxy, redis_client: redis.Redis, script: str, side: str
) -> None:
    broker, view = through_proxy, through_proxy.view("default")
    actor = dramatiq.actor(fail_if_asked, broker=broker, max_retries=0)
    failed, delayed = actor.message(True), actor.message(False)
    broker.enqueue(failed)
    with running(broker):
        broker.join("default", timeout=5000)
    broker.enqueue(delayed, delay=60_000)
    waiting = actor.message(False)
    stored = view.get(failed.message_id)
    assert stored is not None
    book = broker.schedules()
    nothing = {"enabled": True, "declared": None, "overrides": {}}
    book.put("default", "known", lambda _: nothing, begin="now")
    claim = Claim("known", 1, [(1_800_000_000_000, "")], broker.prepare(actor.message(False)), kind="manual")
    many, finder = [(actor.message(False), 0) for _ in range(600)], broker.finder("default")
    actions: dict[str, Callable[[], object]] = {
        "save_schedule": lambda: book.put("default", "new", lambda stored: None if stored else nothing),
        "claim_slots": lambda: book.claim("default", claim),
        "enqueue": lambda: broker.enqueue(waiting),
        "retry": lambda: view.retry(stored),
        "cancel": lambda: view.cancel(delayed.message_id, "why"),
        "promote": lambda: view.promote(delayed.message_id),
        "remove": lambda: view.remove(failed.message_id),
        "clean": lambda: view.clean(State.FAILED, grace_ms=0, limit=10),
        "pause": view.pause,
        "flush": view.flush,
        "facts": view.facts,
        "list": lambda: view.jobs(State.FAILED, 0, -1),
        "get": lambda: view.get(failed.message_id),
        "save_operation": lambda: broker.operations("default").put("id", {}, seen=0),
        "commit_bulk": lambda: broker.enqueue_many(many),
        "add_bulk_part": lambda: broker.enqueue_many(many),
        "page": lambda: broker.read(finder.by_state([State.FAILED], Span(), lambda _: True, limit=10, cursor=None)),
        "find_by_term": lambda: broker.read(
            finder.by_term(b"8 bytes.", list(State), Span(), lambda _: True, limit=10, cursor=None)
        ),
        "failure_groups": lambda: finder.failure_groups(limit=10, cursor=None),
        "permissions": broker.refused_commands,
    }
    getattr(proxy, side)(named(script))
    reply = actions[script]()
    assert proxy.cuts == [script]
    # Whoever asked learns what was done, not that it cannot be done once more.
    expected_replies = {"retry": "ok", "promote": "ok", "remove": "ok", "cancel": "ok", "clean": [failed.message_id]}
    assert reply == expected_replies.get(script, reply)
    if script == "save_operation":
        assert reply is not None
    check_queue(redis_client)
    counts = view.counts()
    total = counts.waiting + counts.delayed + counts.failed + counts.completed
    assert total == {
        "enqueue": 3,
        "commit_bulk": 602,
        "add_bulk_part": 602,
        "claim_slots": 3,
        "remove": 1,
        "clean": 1,
        "flush": 0,
    }.get(script, 2)

    if script == "save_schedule":
        assert [each.name for each in book.read(["default"])] == ["known", "new"]


def test_a_repeated_clean_removes_no_more_than_was_asked_for(through_proxy: JobBroker, proxy: FaultProxy) -> None:
    broker, view = through_proxy, through_proxy.view("default")
    actor = dramatiq.actor(fail_if_asked, broker=broker, max_retries=0)
    for _ in range(20):
        actor.send(False)
    with running(broker):
        broker.join("default", timeout=5000)
    proxy.cut_after(named("clean"))
    assert len(view.clean(State.COMPLETED, grace_ms=0, limit=5)) == 5
    assert (proxy.cuts, view.counts().completed) == (["clean"], 15)


def fail_if_asked(fails: bool) -> None:
    if fails:
        raise ValueError("asked")


@pytest.mark.parametrize(
    "script", ["start", "settle", "forget_workers", "set_limits", "set_retention", "heartbeat", "blpop", "rpush"]
)
@pytest.mark.parametrize("side", ["cut_before", "cut_after"])
def test_a_workers_script_whose_reply_is_cut_runs_every_job_once(
    make_broker: Callable[..., JobBroker],
    proxy: FaultProxy,
    redis_client: redis.Redis,
    wait_until: Callable[..., None],
    script: str,
    side: str,
) -> None:
    worker_broker, caller = make_broker(url=proxy.url), make_broker()
    ran: list[int] = []
    for each in (worker_broker, caller):
        each.declare_queue("default", concurrency=1, limit=4)
        dramatiq.actor(ran.append, broker=each, actor_name="job", max_retries=0)
    # Beside another queue the waiter has to be nudged when this one runs empty.
    worker_broker.declare_queue("other", concurrency=1)
    getattr(proxy, side)(named(script))
    job = caller.get_actor("job")
    with running(worker_broker):
        for i in range(20):
            job.send(i)
        caller.join("default", timeout=10_000)
        if script == "heartbeat":
            return  # It is sent on leaving.
        wait_until(lambda: proxy.cuts == [script])
        job.send(20)
        caller.join("default", timeout=15_000)
    assert sorted(ran) == list(range(21))
    assert redis_client.hlen("nomad:{default}:active") == 0
    check_queue(redis_client)


@pytest.mark.parametrize("side", ["cut_before", "cut_after"])
def test_a_cut_peek_of_a_worker_with_few_threads_costs_nothing(
    make_broker: Callable[..., JobBroker], proxy: FaultProxy, side: str
) -> None:
    broker, caller = make_broker(url=proxy.url), make_broker()
    ran: list[int] = []
    for each in (broker, caller):
        for name in ("a", "b"):
            each.declare_queue(name, concurrency=2)
            dramatiq.actor(ran.append, broker=each, actor_name=name, queue_name=name)
    for number in range(10):
        caller.get_actor("a").send(number)
        caller.get_actor("b").send(100 + number)
    getattr(proxy, side)(named("peek"))
    with running(broker, threads=1):
        for name in ("a", "b"):
            caller.join(name, timeout=10_000)
    assert proxy.cuts == ["peek"]
    assert sorted(ran) == [*range(10), *range(100, 110)]


def test_a_lost_start_is_answered_with_the_same_leases(
    make_broker: Callable[..., JobBroker], proxy: FaultProxy, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    broker = make_broker(url=proxy.url)
    went = threading.Event()
    actor = dramatiq.actor(lambda: went.wait(10), broker=broker, actor_name="job")
    for _ in range(3):
        actor.send()
    proxy.cut_after(named("start"))
    with running(broker, threads=2):
        wait_until(lambda: proxy.cuts == ["start"])
        view = broker.view("default")
        wait_until(lambda: broker._session is not None and len(broker._session.running()) == 2)
        assert view.counts().active == 2
        went.set()
        broker.join("default", timeout=5000)


STEP = ("enqueue", "settle")


@pytest.mark.parametrize("which", ["retry", "pipeline", "pipeline elsewhere", "callback", "callback elsewhere"])
@pytest.mark.parametrize("side", ["cut_before", "cut_after"])
@pytest.mark.parametrize("number", [1, 2])
def test_the_next_step_of_a_job_is_there_once_when_the_line_is_cut(
    make_broker: Callable[..., JobBroker],
    proxy: FaultProxy,
    wait_until: Callable[..., None],
    which: str,
    side: str,
    number: int,
) -> None:
    broker, caller = make_broker(url=proxy.url), make_broker()
    ran = declare_steps(broker)
    declare_steps(caller)
    met = 0

    def chosen(command: Command) -> bool:
        nonlocal met
        met += command.name in STEP
        return command.name in STEP and met == number

    getattr(proxy, side)(chosen)
    with running(broker):
        send_steps(caller, which)
        expected = {"retry": ["fails", "fails"]}.get(which, ["first", "second"])
        wait_until(lambda: ran == expected, timeout_seconds=5)
        for queue in ("default", "elsewhere"):
            caller.join(queue, timeout=5000)
        assert ran == expected
    completed = sum(caller.view(queue).counts().completed for queue in ("default", "elsewhere"))
    assert completed == (1 if which == "retry" else 2)


def declare_steps(broker: JobBroker) -> list[str]:
    """Declare the actors of the steps; return where they write that they ran."""
    ran: list[str] = []

    def fails() -> None:
        ran.append("fails")
        if len(ran) == 1:
            raise ValueError("once")

    dramatiq.actor(fails, broker=broker, max_retries=1, min_backoff=1)
    dramatiq.actor(lambda: ran.append("first"), broker=broker, actor_name="first")
    for name, queue in (("second", "default"), ("second elsewhere", "elsewhere")):
        dramatiq.actor(lambda *_: ran.append("second"), broker=broker, actor_name=name, queue_name=queue)
    return ran


def send_steps(broker: JobBroker, which: str) -> None:
    """Enqueue the first step of a kind."""
    first = broker.get_actor("first")
    second = broker.get_actor("second elsewhere" if which.endswith("elsewhere") else "second")
    if which == "retry":
        broker.get_actor("fails").send()
    elif which.startswith("pipeline"):
        pipeline = first.message() | second.message()
        broker.enqueue(pipeline.messages[0])
    else:
        first.send_with_options(on_success=second)


@pytest.mark.parametrize("which", ["retry", "pipeline", "pipeline elsewhere"])
@pytest.mark.parametrize("side", ["cut_before", "cut_after"])
@pytest.mark.parametrize("number", [1, 2])
def test_the_next_step_of_a_job_is_there_once_when_redis_is_killed_around_a_command(
    own_redis: LocalRedis,
    make_broker: Callable[..., JobBroker],
    wait_until: Callable[..., None],
    which: str,
    side: str,
    number: int,
) -> None:
    proxy = FaultProxy(own_redis.port)
    broker, caller = make_broker(url=proxy.url), make_broker(url=own_redis.url)
    ran = declare_steps(broker)
    declare_steps(caller)
    met = 0

    def killed(command: Command) -> bool:
        nonlocal met
        met += command.name in STEP
        if command.name not in STEP or met != number:
            return False
        own_redis.kill()
        own_redis.start()
        return True

    getattr(proxy, side)(killed)
    with running(broker):
        send_steps(caller, which)
        expected = {"retry": ["fails", "fails"]}.get(which, ["first", "second"])
        wait_until(lambda: ran == expected, timeout_seconds=10)
        for queue in ("default", "elsewhere"):
            caller.join(queue, timeout=5000)
        assert ran == expected
        # The proxy's thread restarts Redis: the test must not end, and stop Redis, in the middle of that.
        wait_until(lambda: proxy.cuts != [])
    proxy.close()


@pytest.mark.parametrize("which", ["retry", "pipeline", "pipeline elsewhere", "callback"])
def test_the_next_step_of_a_job_is_there_once_when_redis_is_killed_and_comes_back(
    own_redis: LocalRedis, make_broker: Callable[..., JobBroker], wait_until: Callable[..., None], which: str
) -> None:
    broker = make_broker(url=own_redis.url)
    kill = threading.Event()
    killed = threading.Event()

    class KillBetween(dramatiq.Middleware):
        """Has Redis killed after the actor ran and before what follows is enqueued."""

        def after_process_message(self, *_: object, **__: object) -> None:
            if not killed.is_set():
                kill.set()
                killed.wait(10)

    # The last of the list hears of the end first.
    broker.add_middleware(KillBetween())
    ran = declare_steps(broker)
    with running(broker):
        send_steps(broker, which)
        assert kill.wait(5)
        own_redis.kill()
        killed.set()
        own_redis.start()
        expected = {"retry": ["fails", "fails"]}.get(which, ["first", "second"])
        wait_until(lambda: ran == expected, timeout_seconds=10)
        for queue in ("default", "elsewhere"):
            broker.join(queue, timeout=5000)
        assert ran == expected


def test_what_has_ended_is_reported_while_redis_is_lost_and_a_running_job_talks_on(
    own_redis: LocalRedis, make_broker: Callable[..., JobBroker], wait_until: Callable[..., None]
) -> None:
    broker = make_broker(url=own_redis.url)
    reported, enough = threading.Event(), threading.Event()

    class Reports(dramatiq.Middleware):
        def report_settled(self, broker: dramatiq.Broker, endings: list[object]) -> None:
            reported.set()

    broker.add_middleware(Reports())

    def job(number: int) -> None:
        if number == 0:
            return
        lease = CURRENT.get()
        assert lease is not None
        assert lease.notify is not None
        own_redis.kill()
        while not reported.is_set() and not enough.wait(0.0002):
            lease.notify(lease)

    actor = dramatiq.actor(job, broker=broker)
    for number in range(2):
        actor.send(number)
    with running(broker, threads=1):
        try:
            wait_until(reported.is_set, timeout_seconds=3)
        finally:
            enough.set()
            own_redis.start()


def test_a_worker_outlives_a_restart_of_redis_and_settles_what_ended_meanwhile(
    own_redis: LocalRedis,
    make_broker: Callable[..., JobBroker],
    wait_until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "nomad_actors.broker")
    broker = make_broker(url=own_redis.url)
    middleware = Endings()
    broker.add_middleware(middleware)
    began, go, ran = threading.Event(), threading.Event(), []

    def job(number: int) -> None:
        ran.append(number)
        began.set()
        go.wait(20)

    actor = dramatiq.actor(job, broker=broker)
    for i in range(10):
        actor.send(i)
    with running(broker, threads=2):
        assert began.wait(5)
        own_redis.kill()
        go.set()
        wait_until(lambda: len(ran) >= 2)
        own_redis.start()
        broker.join("default", timeout=15_000)
        assert sorted(ran) == list(range(10))
        wait_until(lambda: len(middleware.seen) == 10)
        # Whoever reads the log's end must see that it goes on.
        for back in ("jobs that ended meanwhile are settled", "waiting for work"):
            wait_until(lambda back=back: any(back in line for line in caplog.messages), timeout_seconds=20)
    assert {e.outcome for e in middleware.seen} == {Outcome.COMPLETED}
    assert len([line for line in caplog.messages if line.startswith("lost Redis: ")]) == 1


def test_scripts_that_redis_lost_are_sent_once_more(
    broker: JobBroker, redis_client: redis.Redis, endings: list[Ended]
) -> None:
    actor = dramatiq.actor(lambda: None, actor_name="job")
    with running(broker):
        actor.send()
        broker.join("default", timeout=5000)
        redis_client.script_flush()
        actor.send()
        broker.join("default", timeout=5000)
    assert len(endings) == 2


def test_a_producer_gets_the_reason_why_redis_refused_its_job(make_broker: Callable[..., JobBroker]) -> None:
    broker = make_broker(url="redis://127.0.0.1:1/0")
    actor = dramatiq.actor(lambda: None, broker=broker, actor_name="job")
    with pytest.raises(RedisUnavailable, match="did not take the command: ConnectionError"):
        actor.send()


@pytest.fixture
def full_redis(own_redis: LocalRedis) -> Iterator[redis.Redis]:
    with redis.Redis(port=own_redis.port) as client:
        yield client


def test_a_full_redis_refuses_producers_clearly_and_still_drains(
    own_redis: LocalRedis, full_redis: redis.Redis, make_broker: Callable[..., JobBroker]
) -> None:
    broker = make_broker(url=own_redis.url)
    ran: list[int] = []
    actor = dramatiq.actor(ran.append, broker=broker, actor_name="job")
    for i in range(50):
        actor.send(i)
    full_redis.config_set("maxmemory", 1)
    with pytest.raises(RedisUnavailable, match=r"OOM|maxmemory"):
        actor.send(99)
    with running(broker):
        broker.join("default", timeout=10_000)
    assert sorted(ran) == list(range(50))


def test_a_full_redis_can_be_paused_and_made_room_in(
    own_redis: LocalRedis, full_redis: redis.Redis, make_broker: Callable[..., JobBroker]
) -> None:
    broker = make_broker(url=own_redis.url)
    actor = dramatiq.actor(lambda _: None, broker=broker, actor_name="job")
    messages = [actor.send(i) for i in range(3)]
    view, book = broker.view("default"), broker.operations("default")
    full_redis.config_set("maxmemory", 1)
    view.pause(reason="full")
    assert [pause.reason for pause in view.counts().pauses] == ["full"]
    view.resume()
    kept = book.put("an operation", {"state": "running"}, seen=0)
    assert kept is not None
    assert book.put("an operation", {"state": "stopped"}, seen=kept["revision"]) is not None
    assert view.remove(messages[0].message_id) == "ok"
    assert view.cancel(messages[1].message_id, "full") == "ok"


def test_a_full_redis_delays_only_the_job_whose_next_step_needs_memory(
    own_redis: LocalRedis,
    full_redis: redis.Redis,
    make_broker: Callable[..., JobBroker],
    wait_until: Callable[..., None],
) -> None:
    """Retries and settling need no room, beats go on; a step for another queue waits until there is some, then goes."""
    broker = make_broker(url=own_redis.url, lease_ms=800)
    dramatiq.set_broker(broker)
    ran: list[str] = []
    go = threading.Event()

    def flaky(number: int) -> None:
        ran.append(f"flaky {number}")
        if ran.count(f"flaky {number}") == 1:
            raise ValueError("the first run fails")

    def long() -> None:
        ran.append("long")
        go.wait(20)

    def first() -> int:
        ran.append("first")
        return 1

    retried = dramatiq.actor(flaky, broker=broker, max_retries=2, min_backoff=5, max_backoff=10)
    lasting = dramatiq.actor(long, broker=broker)
    step = dramatiq.actor(first, broker=broker)
    other = dramatiq.actor(lambda _: ran.append("other"), broker=broker, actor_name="other", queue_name="other")
    lasting.send()
    (step.message() | other.message()).run()
    for number in range(20):
        retried.send(number)
    full_redis.config_set("maxmemory", 1)
    view = broker.view("default")
    with running(broker):
        wait_until(lambda: view.counts().completed == 20 and view.counts().active == 2)
        # Beats need no room either: were none heard, the long one would be taken for lost.
        for _ in range(3):
            last = full_redis.hget("nomad:{default}:workers", "tick")
            wait_until(lambda last=last: full_redis.hget("nomad:{default}:workers", "tick") != last)
        full_redis.config_set("maxmemory", 0)
        wait_until(lambda: "other" in ran)
        go.set()
        broker.join("default", timeout=10_000)
    assert (ran.count("long"), ran.count("first"), ran.count("other")) == (1, 1, 1)
    assert view.counts().recovered == 0


def test_a_settling_that_comes_after_the_lease_was_lost_changes_nothing(
    broker: JobBroker, redis_client: redis.Redis, endings: list[Ended], wait_until: Callable[..., None]
) -> None:
    began, go = threading.Event(), threading.Event()

    @dramatiq.actor
    def job() -> None:
        began.set()
        go.wait(10)

    message = job.send()
    with running(broker):
        assert began.wait(5)
        # Somebody else's lease now, as after a recovery.
        (stored_id,) = redis_client.hkeys("nomad:{default}:active")
        lease = redis_client.hget("nomad:{default}:active", stored_id)
        redis_client.hset("nomad:{default}:active", stored_id, b"x" * 14 + lease[14:])
        go.set()
        other = dramatiq.actor(lambda: None, actor_name="other").send()
        view = broker.view("default")
        wait_until(lambda: (found := view.get(other.message_id)) and found.state is State.COMPLETED)
        found = view.get(message.message_id)
        assert found is not None
        assert found.state is State.ACTIVE
    assert message.message_id not in {e.job_id for e in endings}
