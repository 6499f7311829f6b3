"""The table of states is what the scripts do: each row is tried on a job in every state, on a real Redis."""

from __future__ import annotations

import copy
import struct
import time
from collections.abc import Callable
from typing import Any, get_args

import dramatiq
import pytest
import redis

from chaos import keyspace
from chaos.consistency import check_queue
from nomad_actors.broker import JobBroker, State, keys, records
from nomad_actors.broker.client.link import Call
from nomad_actors.broker.client.packed_job import PackedJob
from nomad_actors.broker.client.slots import Claim
from nomad_actors.broker.scripts import scripts
from nomad_actors.broker.states import (
    FINISHED,
    PAUSED,
    STATE_NAMES,
    TRANSITIONS,
    Action,
    Transition,
    allowed,
    allowed_names,
    in_words,
)
from nomad_actors.queues.bulk import ACTIONS
from nomad_actors.queues.bulk.operation import BulkOperation
from nomad_actors.queues.job import JobState
from nomad_actors.queues.queue import CLEANABLE

WORKER, WITNESS = b"worker..", b"witness."
LEASE_MS = 15_000
DUE_MS = 1_800_000_000_000
STATES: tuple[State | None, ...] = (None, *State)

#: Scripts that change no job's state: what they read, or what else of a queue they change.
OTHER_SCRIPTS = {
    *("facts", "failure_groups", "find_by_term", "get", "list", "page", "peek", "permissions"),
    *("commit_bulk", "forget_workers", "pause", "report", "save_operation", "save_schedule", "set_limits"),
    "set_retention",
}
#: What a worker's scripts write whatever they find: the worker's entry, and the token that wakes others.
WORKERS_OWN = ("workers", "wake")


class Driver:
    """One job in one queue, and the calls that change its state; no worker runs."""

    def __init__(self, broker: JobBroker) -> None:
        self.broker, self.base = broker, keys.base("nomad", "default")
        self.view = broker.view("default")
        self.actor = dramatiq.actor(lambda: None, broker=broker, actor_name="job")
        self.message = self.actor.message()
        self.token, self.requests = b"\0" * 14, 0

    @property
    def is_slot(self) -> bool:
        return self.message.message_id.startswith("schedule:")

    @property
    def stored_id(self) -> bytes:
        return records.pack_id(self.message.message_id)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.broker._links.run([Call(script, self.base, arguments)])[0]

    def state(self) -> State | None:
        job = self.view.get(self.message.message_id)
        return job.state if job else None

    def bring(self, state: State | None, *, delay_ms: int = 3_600_000) -> None:
        """Have the job in a state."""
        if state is None:
            return
        if self.is_slot:
            assert self.claim_slot()
        else:
            assert self.enqueue(delay_ms if state is State.DELAYED else 0)
        if state in (State.ACTIVE, *FINISHED) or (self.is_slot and state is State.DELAYED):
            assert self.start()
        if self.is_slot and state is State.DELAYED:
            assert self.settle("retried")
        if state in FINISHED:
            assert self.settle("completed" if state is State.COMPLETED else "failed")
        assert self.state() is state

    # What happens to the job. Each returns whether the script says that it did it.

    def enqueue(self, delay_ms: int = 0) -> bool:
        (added,) = self.broker.enqueue_many([(self.message, delay_ms)])
        return added.new

    def add_bulk_part(self) -> bool:
        job = PackedJob.of(self.message, call=b"callcall", actor=self.actor, delay_ms=0)
        self.broker._adder._store(keys.BULK.of(self.base, "many"), [[job]])
        assert self.run("commit_bulk", "many", 1, 1) == [b"ok"]
        return self.run("add_bulk_part", "many", 0, "1")[1] == 1

    def claim_slot(self) -> bool:
        claim = Claim("nightly", 1, [(DUE_MS, "")], self.broker.prepare(self.message), kind="manual", overlap="")
        return self.broker.schedules().claim("default", claim).slots == {DUE_MS: "added"}

    def start(self, *, free: int = 1, worker: bytes = WORKER) -> bool:
        self.requests += 1
        _, _, _, *jobs = self.run("start", worker, self.requests, free, "w:1", 1, "")
        if jobs:
            self.token = records.TOKEN.pack(worker, self.requests, jobs[2])
        return bool(jobs)

    def promote_when_due(self) -> bool:
        before = self.state()
        time.sleep(0.005)
        self.start(free=0)
        return self.state() is not before

    def settle(self, outcome: str) -> bool:
        later = 3_600_000 if outcome in ("retried", "deferred") else 0
        reply = self.run("settle", "w:1", "", self.stored_id, self.token, outcome, later, "", "", "why", "", 0)
        return reply[1] in (b"ok", b"cancelled")

    def begin_what_follows(self) -> bool:
        if self.state() is State.ACTIVE:
            self.enqueue()
        return self.settle("completed")

    def beat(self, worker: bytes, answered: int, missed_ms: float = 0) -> bool:
        seconds, micros = self.broker.client.time()
        now_ms = seconds * 1000 + micros / 1000
        workers = keys.WORKERS.of(self.base)
        self.broker.client.hset(workers, "tick", struct.pack(">dd", now_ms - LEASE_MS / 4, 0))
        if missed_ms:
            mark = struct.pack(">dId", now_ms - missed_ms, self.requests, missed_ms) + b"w:1"
            self.broker.client.hset(workers, WORKER, mark)
        return bool(self.run("heartbeat", worker, "w:1", answered, LEASE_MS, "")[6])

    def recover(self) -> bool:
        return self.beat(WORKER, self.requests)

    def lose_workers(self) -> bool:
        for _ in range(2):
            if self.beat(WITNESS, 0, 2 * LEASE_MS):
                assert self.start()
        return self.beat(WITNESS, 0, 2 * LEASE_MS)

    def retry(self) -> bool:
        return self.run("retry", self.stored_id, self.token, b"{}", "", "") == b"ok"

    def promote(self) -> bool:
        return self.view.promote(self.message.message_id) == "ok"

    def cancel(self) -> bool:
        return self.view.cancel(self.message.message_id, "why") in ("ok", "asked")

    def remove(self) -> bool:
        return self.view.remove(self.message.message_id) == "ok"

    def clean(self) -> bool:
        time.sleep(0.002)
        return sum(len(self.view.clean(state, grace_ms=0, limit=9)) for state in allowed(Action.CLEAN)) > 0

    def flush(self) -> bool:
        before = self.state()
        self.view.flush()
        return before is not None

    def trim_by_count(self) -> bool:
        before = self.state()
        other = copy.copy(self)
        other.message = self.actor.message_with_options(priority=-9)
        self.run("set_retention", 0, 3_600_000.0, 0, 3_600_000.0)
        # Ahead of the job that is watched, should that wait.
        self.broker.enqueue(other.message)
        assert other.start(worker=WITNESS)
        other.settle("completed")
        return self.state() is not before

    def trim_by_age(self) -> bool:
        before = self.state()
        self.run("set_retention", 9, 0.0, 9, 0.0)
        time.sleep(0.002)
        self.beat(WITNESS, 0)
        return self.state() is not before


DRIVERS: dict[str, Callable[[Driver], bool]] = {
    "enqueue": Driver.enqueue,
    "enqueue delayed": lambda driver: driver.enqueue(3_600_000),
    "enqueue behind a run": Driver.enqueue,
    "enqueue in bulk": Driver.add_bulk_part,
    "claim a slot": Driver.claim_slot,
    "promote when due": Driver.promote_when_due,
    "start": Driver.start,
    "complete": lambda driver: driver.settle("completed"),
    "fail": lambda driver: driver.settle("failed"),
    "end as cancelled": lambda driver: driver.settle("cancelled"),
    "try again": lambda driver: driver.settle("retried"),
    "defer": lambda driver: driver.settle("deferred"),
    "release": lambda driver: driver.settle("released"),
    "begin what was enqueued behind a run": Driver.begin_what_follows,
    "recover": Driver.recover,
    "lose too many workers": Driver.lose_workers,
    "retry": Driver.retry,
    "promote": Driver.promote,
    "cancel": Driver.cancel,
    "ask a run to end": Driver.cancel,
    "remove": Driver.remove,
    "clean": Driver.clean,
    "flush": Driver.flush,
    "trim by count": Driver.trim_by_count,
    "trim by age": Driver.trim_by_age,
}
#: What the driver itself writes to get there: a bulk's parts, retention, the other job that ends.
DRIVERS_OWN = {
    "enqueue in bulk": ("bulk:many", "bulk:many:done"),
    "trim by age": ("meta",),
    "trim by count": ("meta", "stats", "totals", "jobs"),
}
#: Rows that one call may turn out to be.
ONE_CALL = (
    {"enqueue", "enqueue behind a run"},
    {"enqueue delayed", "enqueue behind a run"},
    {"enqueue in bulk", "enqueue behind a run"},
    {"cancel", "ask a run to end"},
)


def rows_of(row: Transition) -> list[Transition]:
    """Return every row that a call may turn out to be: who adds or cancels a job does not know whether it runs."""
    names = {row.name}.union(*(call for call in ONE_CALL if row.name in call))
    return [each for each in TRANSITIONS if each.name in names]


def pairs() -> list[tuple[State | None, Transition]]:
    return [(state, row) for row in TRANSITIONS for state in STATES]


@pytest.fixture
def driver(broker: JobBroker) -> Driver:
    broker.schedules().put("default", "nightly", lambda _: {"enabled": True, "declared": None, "overrides": {}})
    driver = Driver(broker)
    driver.run("set_retention", 99, 3_600_000.0, 99, 3_600_000.0)
    return driver


@pytest.mark.parametrize(
    ("state", "row"), pairs(), ids=[f"{row.name}-{state or 'missing'}".replace(" ", "_") for state, row in pairs()]
)
def test_a_script_does_only_what_the_table_allows(
    driver: Driver, redis_client: redis.Redis, state: State | None, row: Transition
) -> None:
    if row.name == "claim a slot":
        driver.message = driver.message.copy(message_id=f"schedule:nightly:{DUE_MS}")
    driver.bring(state, delay_ms=1 if row.name == "promote when due" else 3_600_000)
    before = keyspace.read(redis_client)
    done = DRIVERS[row.name](driver)
    (legal, *_) = [*(each for each in rows_of(row) if state in each.sources), None]
    assert done == (legal is not None)
    if legal is not None:
        assert driver.state() is legal.target
        check_counts(driver, legal.target)
    else:
        own = (*WORKERS_OWN, *DRIVERS_OWN.get(row.name, ())) if uses_a_worker(row) else DRIVERS_OWN.get(row.name, ())
        assert changes(before, keyspace.read(redis_client), driver.base, own) == []
        assert driver.state() is state
    check_queue(redis_client)


def uses_a_worker(row: Transition) -> bool:
    return row.script in ("start", "heartbeat") or row.name == "trim by count"


def changes(before: keyspace.Keyspace, after: keyspace.Keyspace, base: str, own: tuple[str, ...]) -> list[str]:
    names = {f"{base}:{suffix}".encode() for suffix in own}
    kept = [
        keyspace.Keyspace({key: entry for key, entry in each.entries.items() if key not in names}, each.read_ms)
        for each in (before, after)
    ]
    return kept[0].differences(kept[1])


def check_counts(driver: Driver, target: State | None) -> None:
    counts = driver.view.counts()
    found = {state: getattr(counts, state.value) for state in State}
    assert found == {state: int(state is target) for state in State}


def test_every_row_has_a_driver_and_every_script_is_a_row_or_changes_no_state() -> None:
    assert {row.name for row in TRANSITIONS} == set(DRIVERS)
    changing = {row.script for row in TRANSITIONS}
    assert changing | OTHER_SCRIPTS == set(scripts())
    assert not changing & OTHER_SCRIPTS


def test_what_callers_may_name_is_read_from_the_table() -> None:
    assert get_args(JobState) == (*[state.value for state in State], PAUSED) == STATE_NAMES
    assert {name: set(states) for name, states in ACTIONS.items()} == {
        action.value: set(allowed_names(action)) for action in Action if action is not Action.CLEAN
    }
    assert get_args(BulkOperation.model_fields["action"].annotation) == tuple(ACTIONS)
    assert set(CLEANABLE) == {"waiting", "paused", "delayed", "completed", "failed"}
    assert in_words(allowed(Action.CANCEL)) == "waiting, delayed or active"
