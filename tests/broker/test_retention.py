"""What is kept of ended jobs: by count and by age, trimmed as jobs settle and by the reaper's ticks."""

from __future__ import annotations

from collections.abc import Callable

import dramatiq
import pytest
import redis

from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, Retention, State
from nomad_actors.testing import running


def test_cancelled_jobs_do_not_push_out_why_others_failed(
    make_broker: Callable[..., JobBroker], redis_client: redis.Redis
) -> None:
    broker = make_broker(retention=Retention(100, 3_600_000, 50, 3_600_000))

    @dramatiq.actor(broker=broker, actor_name="fails", max_retries=0)
    def fails() -> None:
        raise ValueError("as told")

    view = broker.view("default")
    for _ in range(30):
        fails.send()
    with running(broker):
        broker.join("default", timeout=10_000)
    for message in [fails.send() for _ in range(200)]:
        view.cancel(message.message_id, "too many")
    assert view.counts().failed == 230
    for _ in range(15):
        fails.send()
    with running(broker):
        broker.join("default", timeout=10_000)
    kept = view.jobs(State.FAILED, 0, -1)
    # Each end trims twice what came: not all that is too much is gone yet, and no failure is.
    assert [job.cancelled for job in kept].count(False) == 45
    assert len(kept) < 230
    check_queue(redis_client)


def test_a_queue_stores_no_more_ended_jobs_than_its_retention(
    make_broker: Callable[..., JobBroker], redis_client: redis.Redis
) -> None:
    broker = make_broker(retention=Retention(completed=20, failed=5))

    def job(number: int) -> None:
        if number % 2:
            raise ValueError("odd")

    actor = dramatiq.actor(job, broker=broker, max_retries=0)
    messages = [actor.send(number) for number in range(200)]
    with running(broker, threads=1):
        broker.join("default", timeout=20_000)
    view = broker.view("default")
    counts = view.counts()
    assert (counts.completed, counts.failed) == (20, 5)
    assert (view.facts().tally(5).completed, view.facts().tally(5).failed) == (100, 100)
    # The newest are the ones that stay.
    assert view.get(messages[-1].message_id) is not None
    assert redis_client.hlen("nomad:{default}:jobs") == 25
    check_queue(redis_client)


def test_a_queue_may_have_its_own_retention(make_broker: Callable[..., JobBroker]) -> None:
    broker = make_broker()
    broker.declare_queue("brief", retention=Retention(completed=0))
    for name in ("brief", "default"):
        actor = dramatiq.actor(lambda: None, broker=broker, actor_name=name, queue_name=name)
        actor.send()
    with running(broker):
        for name in ("brief", "default"):
            broker.join(name, timeout=5000)
    assert [broker.view(name).counts().completed for name in ("brief", "default")] == [0, 1]


def test_old_jobs_go_from_an_idle_queue_with_no_cleaner_running(
    make_broker: Callable[..., JobBroker], redis_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    broker = make_broker(lease_ms=400)
    job = dramatiq.actor(lambda: None, broker=broker, actor_name="job")
    old, young = job.send(), job.send()
    view = broker.view("default")
    with running(broker):
        broker.join("default", timeout=5000)
        (old_id,) = [
            i
            for i in redis_client.zrange("nomad:{default}:completed", 0, -1)
            if i.hex() in old.message_id.replace("-", "")
        ]
        score = redis_client.zscore("nomad:{default}:completed", old_id)
        redis_client.zadd("nomad:{default}:completed", {old_id: score - 25 * 3_600_000})
        # The ticks trim once a minute; the last time was long ago.
        tick = redis_client.hget("nomad:{default}:workers", "tick") or bytes(16)
        redis_client.hset("nomad:{default}:workers", "tick", tick[:8] + bytes(8) + tick[16:])
        wait_until(lambda: view.get(old.message_id) is None, timeout_seconds=5)
    assert view.get(young.message_id) is not None


@pytest.mark.parametrize("wrong", [{"completed": -1}, {"failed": 1.5}, {"failed_ms": None}])
def test_numbers_that_are_none_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"retention: .* is invalid"):
        Retention(**wrong)  # type: ignore[arg-type]
