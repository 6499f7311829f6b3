"""keys.py names every key: after a use of everything, each key in Redis is a row of the table, and each row is used."""

from __future__ import annotations

import re
import struct

import dramatiq
import redis

from nomad_actors.broker import JobBroker, keys, records
from nomad_actors.broker.client.link import Call
from nomad_actors.broker.client.packed_job import PackedJob
from nomad_actors.broker.client.slots import Claim
from nomad_actors.broker.records import failures
from nomad_actors.broker.records.limits import Limits

BASE = keys.base("nomad", "default")


class Seen:
    """The keys that were there at any time, by the row of the table that names them."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.rows: set[str] = set()

    def look(self) -> None:
        """Look at every key of now."""
        for key in self._client.scan_iter(count=1000):
            kind = self._client.type(key).decode()
            found = [name for name, row in named() if pattern_of(name, row).fullmatch(key.decode(errors="replace"))]
            assert found, f"no row of keys.py names {key!r}"
            assert len(found) == 1, f"{key!r} is named by {found}"
            row = dict(named())[found[0]]
            assert kind == row.type, f"{key!r} is a {kind}, not a {row.type}"
            self.rows.add(found[0])


def named() -> list[tuple[str, keys.Key]]:
    return [*keys.QUEUE_KEYS.items(), *keys.NAMESPACE_KEYS.items()]


def pattern_of(name: str, row: keys.Key) -> re.Pattern[str]:
    base = BASE if name in keys.QUEUE_KEYS else "nomad"
    return re.compile("[^:]+".join(map(re.escape, row.of(base, "\0").split("\0"))))


def test_every_key_in_redis_is_a_row_of_the_table_and_every_row_is_used(
    broker: JobBroker, redis_client: redis.Redis
) -> None:
    seen, view = Seen(redis_client), broker.view("default")
    requests = 0

    def run(script: str, *arguments: bytes | str | int | float) -> list[bytes]:
        reply: list[bytes] = broker._links.run([Call(script, BASE, arguments)])[0]
        return reply

    def start() -> tuple[bytes, bytes]:
        nonlocal requests
        requests += 1
        _, _, _, stored_id, _, number, *_ = run("start", b"worker..", requests, 1, "w:1", 1, "")
        return stored_id, records.TOKEN.pack(b"worker..", requests, int(number))

    def settle(stored_id: bytes, token: bytes, outcome: str, group: bytes = b"") -> None:
        assert run("settle", "w:1", "", stored_id, token, outcome, 0, "", "", "why", group, 0)[1] == b"ok"

    @dramatiq.actor(broker=broker, indexed=("number",))
    def work(number: int) -> None: ...

    assert broker.refused_commands() == []
    view.set_limits(Limits(concurrency=9, starts=99, period_ms=60_000, max_length=5_000))
    # One that fails, one that reports, is enqueued anew while it runs, and is asked to end; wake tokens on the way.
    failed = work.send(number=1)
    seen.look()
    settle(*start(), "failed", failures.pack("work", "ValueError", "why"))
    running = work.send(number=2)
    stored_id, token = start()
    run("report", stored_id, token, 1, b"{}", 1.0, b"a line")
    broker.enqueue(running)
    assert view.cancel(running.message_id, "why") == "asked"
    broker.enqueue(running)
    seen.look()
    # Ended by an operator; unique keys; a caller's own key; an operator's call.
    cancelled = work.send_with_options(kwargs={"number": 3}, delay=60_000, unique_key="until-end", idempotency_key="k")
    work.send_with_options(kwargs={"number": 4}, unique_key="for-a-time", unique_until=60)
    seen.look()
    assert view.cancel(cancelled.message_id, "why") == "ok"
    stored = view.get(failed.message_id)
    assert stored is not None
    assert view.retry(stored) == "ok"
    settle(*start(), "completed")
    # Many in one call, seen at each step.
    jobs = [PackedJob.of(work.message(number=n), call=b"%08d" % n, actor=work, delay_ms=0) for n in range(2)]
    broker._adder._store(keys.BULK.of(BASE, "many"), [[jobs[0]], [jobs[1]]])
    assert run("commit_bulk", "many", 2, 2) == [b"ok"]
    seen.look()
    run("add_bulk_part", "many", 0, "")
    run("add_bulk_part", "many", 1, "1")
    # A delayed job while no worker was heard of for long.
    long_ago = struct.pack(">dd", 1, 1) + struct.pack(">ddIdB", 0.0, 1_000_000.0, 1, 0.0, 0)
    redis_client.hset(keys.WORKERS.of(BASE), keys.TICK_FIELD, long_ago)
    work.send_with_options(kwargs={"number": 5}, delay=60_000)
    view.pause()
    # Schedules and bulk operations.
    book = broker.schedules()
    book.put("default", "nightly", lambda _: {"enabled": True, "declared": None, "overrides": {}}, begin="now")
    book.claim("default", Claim("nightly", 1, [(1_800_000_000_000, "")], jobs[0], kind="manual"))
    book.beat("scheduler", 1.0, forget_before_ms=0.0)
    broker.operations("default").put("operation", {}, seen=0)
    seen.look()
    assert {name for name, _ in named()} - seen.rows == {"probe"}
