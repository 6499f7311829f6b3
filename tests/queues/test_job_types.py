"""A job type enqueues its payloads and declares its schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from nomad_actors import jobs, queues
from nomad_actors.broker import JobBroker
from nomad_actors.clock import ManualClock, SystemClock
from nomad_actors.errors import BadInput, BadPayload, NomadError, UnknownQueue
from nomad_actors.queues import NewJob, Queues
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.queues.policy import Priority
from nomad_actors.queues.schedules.schedule import Schedule
from nomad_actors.scheduler import Schedules, SlotScheduler, cron
from nomad_actors.settings import Settings
from nomad_actors.testing import running


class Hello(Payload):
    name: str
    times: int = 1


class Greeted(Result):
    text: str


greeted: list[str] = []


def greet(payload: Hello) -> Greeted:
    return Greeted(text=f"Fly safe, {payload.name}")


def note(payload: Hello) -> None:
    greeted.append(payload.name)


NIGHTLY = Schedule(name="hello-nightly", expression="30 4 * * *", data={"name": "Ada"})
HELLO = JobType(name="hello", queue="hellos", payload=Hello, result=Greeted, run=greet, schedules=(NIGHTLY,))
NOTE = JobType(name="note", queue="hellos", payload=Hello, run=note)


@pytest.fixture
def own(redis_url: str) -> Iterator[Queues]:
    """Queues with the job types of this file, which are not the process' default."""
    broker = JobBroker(url=redis_url)
    made = Queues(broker, settings=Settings(), clock=SystemClock())
    made.register(HELLO)
    made.register(NOTE)
    yield made
    broker.close()


@pytest.fixture
def of_process(own: Queues) -> Iterator[Queues]:
    """The same queues as the process' default."""
    queues.set_default(own)
    yield own
    queues.set_default(None)


def waiting(own: Queues) -> int:
    return sum(own.get_queue("hellos").counts().values())


def test_a_payload_is_enqueued_and_its_result_stored(of_process: Queues) -> None:
    added = HELLO.enqueue(Hello(name="Ada"), priority="HIGH", delay=1, requested_by="me")
    assert (added.queue, added.state, added.priority, added.new) == ("hellos", "delayed", 2, True)
    with running(of_process.broker):
        of_process.broker.join("hellos", timeout=5000)
    job = of_process.get_queue("hellos").get(added.id)
    assert job is not None
    assert (job.status, job.returnvalue, job.requested_by) == ("completed", {"text": "Fly safe, Ada"}, "me")
    assert dict(job.data) == {"name": "Ada"}


def test_a_job_is_added_to_the_given_queues(own: Queues) -> None:
    assert HELLO.enqueue(Hello(name="Ada"), queues=own).state == "waiting"
    with pytest.raises(NomadError, match=r"call nomad_actors\.connect"):
        HELLO.enqueue(Hello(name="Ada"))
    assert waiting(own) == 1


def test_many_are_enqueued_with_the_same_options(own: Queues) -> None:
    added = HELLO.enqueue_many([Hello(name=str(n)) for n in range(3)], queues=own, priority=Priority.BATCH)
    assert [each.priority for each in added] == [5, 5, 5]
    assert [job.id for job in own.get_queue("hellos").jobs("waiting")] == [each.id for each in added]
    assert HELLO.enqueue_many([], queues=own) == []


@pytest.mark.parametrize(
    ("payloads", "options", "error", "message"),
    [
        ([Hello.model_construct(name=5)], {}, BadPayload, "name"),
        ([Hello(name="Ada"), NIGHTLY], {}, BadPayload, r"jobs\[1\]: wrong data for job type 'hello'"),
        ([{"name": "Ada", "tmes": 2}], {}, BadPayload, "tmes: Extra inputs"),
        ([Hello(name="Ada")], {"priority": "URGENT"}, BadInput, "unknown priority 'URGENT'.*CRITICAL"),
        ([Hello(name="Ada")], {"delay": "5s"}, BadInput, "delay '5s'"),
        ([Hello(name="Ada")] * 2, {"unique_key": ""}, BadInput, r"jobs\[0\]: unique_key ''.*1 to 400"),
        ([Hello(name="Ada")] * 2, {"unique_key": "a", "unique_until": 0}, BadInput, r"jobs\[0\]: unique_until 0"),
        ([Hello(name="Ada")], {"dealy": 5}, TypeError, "no option dealy.*allowed: priority, backoff.*job_id"),
    ],
)
def test_wrong_input_is_refused_and_nothing_is_enqueued(
    own: Queues, payloads: list[Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        HELLO.enqueue_many(payloads, queues=own, **options)
    assert waiting(own) == 0


def test_a_job_type_that_is_not_registered_is_refused(own: Queues) -> None:
    other = JobType(name="other", queue="others", payload=Hello, run=note)
    with pytest.raises(UnknownQueue, match="allowed: hellos"):
        other.enqueue(Hello(name="Ada"), queues=own)


def test_an_option_of_none_means_the_job_types_own() -> None:
    assert NewJob(queue="a", job_type="b", data={}, priority=None, delay=None).options == {}


def test_a_job_type_may_have_no_result(own: Queues) -> None:
    greeted.clear()
    added = NOTE.enqueue(Hello(name="Ada"), queues=own)
    with running(own.broker):
        own.broker.join("hellos", timeout=5000)
    job = own.get_queue("hellos").get(added.id)
    assert job is not None
    assert (job.status, job.returnvalue, greeted) == ("completed", None, ["Ada"])


def test_a_declared_schedule_adds_its_job_type(redis_url: str) -> None:
    clock = ManualClock(1_795_000_000_000)
    broker = JobBroker(url=redis_url)
    own = Queues(broker, settings=Settings(), clock=clock)
    own.register(HELLO)
    each = SlotScheduler(Schedules(own), own.schedules(), clock)
    each.schedule()
    clock.advance(seconds=86_400)
    each.schedule()
    (job,) = own.get_queue("hellos").jobs("waiting")
    assert (job.name, dict(job.data), job.requested_by) == ("hello", {"name": "Ada"}, "schedule:hello-nightly")
    broker.close()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Schedule(name="x", expression="61 * * * *", data={"name": "a"}), "minute"),
        (Schedule(name="x y", expression="@daily", data={"name": "a"}), "schedule name 'x y'"),
        (Schedule(name="x", expression="@daily", data={"nam": "a"}), "nam: Extra inputs"),
        (Schedule(name="x", expression="@daily"), "name: Field required"),
        (Schedule(name="x", expression="@daily", data={"name": "a"}, timezone="Mars"), "time zone 'Mars'"),
        ("@daily", "a schedule of job type 'hello' must be a Schedule, not '@daily'"),
    ],
)
def test_a_wrong_schedule_is_refused_when_the_job_type_is_declared(schedule: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        JobType(name="hello", queue="hellos", payload=Hello, result=Greeted, run=greet, schedules=(schedule,))


def test_two_schedules_of_one_name_are_refused(own: Queues) -> None:
    second = JobType(name="again", queue="hellos", payload=Hello, run=note, schedules=(NIGHTLY,))
    with pytest.raises(BadInput, match="schedule 'hello-nightly' of 'again' is declared by 'hello' too"):
        own.register(second)
    assert "again" not in own.job_types
    twice = (NIGHTLY, NIGHTLY)
    with pytest.raises(BadInput, match="'hello-nightly'"):
        own.register(JobType(name="twice", queue="hellos", payload=Hello, run=note, schedules=twice))


def test_a_cron_object_of_ours_is_an_expression_too() -> None:
    schedule = Schedule(name="x", expression=cron("0 0 * * fri-mon"), data={"name": "a"})
    assert NOTE.bind(schedule).expression == "0 0 * * fri-mon"


def test_the_schedules_of_our_job_types_have_not_changed() -> None:
    assert {each.name: (each.expression, dict(each.data), each.queue) for each in jobs.SCHEDULES} == {
        "token-refresh": ("0 */2 * * *", {"sweep": True, "spread_seconds": 6_600}, "token-refresh"),
        "esi-data-refresh": ("*/5 * * * *", {"sweep": True, "spread_seconds": 240}, "esi-refresh"),
        "historical-data-collection": ("54 4 * * *", {"sweep": True, "spread_seconds": 14_400}, "historical-data"),
        "cache-cleanup": ("0 3 * * *", {"type": "expired", "then_lru": True}, "cache-cleanup"),
        "esi-check": ("23 4 * * 2", {}, "esi-refresh"),
    }
