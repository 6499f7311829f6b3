"""Job types as a user writes them: type checkers must find an error in exactly the lines that are marked `# wrong`."""

from datetime import datetime, timedelta
from decimal import Decimal

from nomad_actors import JobType, NewJob, Payload, Priority, Result, add_job, data
from nomad_actors.jobs import Services
from nomad_actors.queues import AddedJob, Queues


class Hello(Payload):
    name: str
    times: int = 1


class Goodbye(Payload):
    name: str


class Greeted(Result):
    text: str


class Counted(Result):
    number: int


def greet(payload: Hello) -> Greeted:
    return Greeted(text=f"Fly safe, {payload.name}" * payload.times)


def greet_by_esi(payload: Hello, services: Services) -> Greeted:
    return Greeted(text=f"Fly safe, {payload.name} at {services.clock.now_ms()}")


def count(payload: Hello) -> Counted:
    return Counted(number=payload.times)


def forget(payload: Hello) -> None:
    assert payload.name


HELLO = JobType(name="hello", queue="hellos", payload=Hello, result=Greeted, run=greet)
BY_ESI = JobType(name="by-esi", queue="hellos", payload=Hello, result=Greeted, run=greet_by_esi)
FORGET = JobType(name="forget", queue="hellos", payload=Hello, run=forget)
DECLARED: JobType[Hello, Greeted] = HELLO
NO_RESULT: JobType[Hello, None] = FORGET
BY_RUN: JobType[Hello, Greeted] = JobType(name="by-run", queue="hellos", payload=Hello, run=greet)

added: AddedJob = HELLO.enqueue(Hello(name="Ada"))
HELLO.enqueue(Hello(name="Ada", times=2), priority=Priority.HIGH, delay=5_000, attempts=3)
HELLO.enqueue(Hello(name="Ada"), priority="HIGH", unique_key="ada", unique_until=60, unique_replace=True)
HELLO.enqueue(Hello(name="Ada"), priority=None, job_id="ada", idempotency_key="once", requested_by="me")
many: list[AddedJob] = BY_ESI.enqueue_many([Hello(name="Ada"), Hello(name="Grace")], priority=2)
payload: Hello = HELLO.validate({"name": "Ada"})
add_job("hellos", "hello", {"name": "Ada"}, priority="LOW")


def with_queues(queues: Queues) -> list[AddedJob]:
    HELLO.enqueue(Hello(name="Ada"), queues=queues)
    return queues.add_jobs([NewJob(queue="hellos", job_type="hello", data={"name": "Ada"}, delay=1_000)])


def register_any(job_type: JobType) -> str:
    return job_type.name


register_any(HELLO)

HELLO.enqueue(Hello(nam="Ada"))  # wrong: an unknown field
HELLO.enqueue(Hello(name="Ada", tmes=2))  # wrong: an unknown field beside a right one
HELLO.enqueue(Hello())  # wrong: a field is missing
HELLO.enqueue(Hello(name=5))  # wrong: a field's type
HELLO.enqueue(Goodbye(name="Ada"))  # wrong: another payload
HELLO.enqueue({"name": "Ada"})  # wrong: no payload
HELLO.enqueue_many([Goodbye(name="Ada")])  # wrong: another payload among many
HELLO.enqueue(Hello(name="Ada"), priority="URGENT")  # wrong: an unknown priority
HELLO.enqueue(Hello(name="Ada"), priority=6)  # wrong: a number that is no priority
HELLO.enqueue(Hello(name="Ada"), delay="5s")  # wrong: an option's type
HELLO.enqueue(Hello(name="Ada"), dealy=5)  # wrong: an unknown option
add_job("hellos", "hello", {}, priority="URGENT")  # wrong: an unknown priority by name
JobType(name="a", queue="a", payload=Hello, result=Greeted, run=count)  # wrong: another result
JobType(name="a", queue="a", payload=Hello, result=Greeted, run=forget)  # wrong: no result
JobType(name="a", queue="a", payload=Goodbye, result=Greeted, run=greet)  # wrong: another payload
JobType(name="a", queue="a", payload=Hello, result=Hello, run=greet)  # wrong: a payload as the result
OTHER: JobType[Hello, Counted] = HELLO  # wrong: another result

for entry in data.journal(95465499, from_="2026-10-01", ref_types=["bounty_prizes"], limit=10):
    when: datetime = entry.date
    isk: Decimal | None = entry.amount
    cursor: str = entry.cursor
    misspelt = entry.amonut  # wrong: no such field
reader = data.connect(database_url="sqlite:///var/nomad.db")
prices: list[Decimal] = [order.price for order in reader.orders(95465499, states={"open"})]
data.journal("95465499")  # wrong: an id is an int
data.journal(95465499, ref_type=["bounty_prizes"])  # wrong: no such argument
days: list[data.Balance] = list(data.balance_history(95465499, every=timedelta(days=1)))
