"""Adds jobs: one, or many in one call that are added all or not at all.

Up to `ADD_STEP` jobs of a queue are added by one script. More are stored in parts that expire, committed in one step,
then added part by part: no script takes long, and committed jobs are added even if the caller dies (``lib/bulk.lua``).
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import keys
from ..errors import KeyReused, QueueFull, RedisUnavailable
from ..records import unpack_id
from .link import Call, CallerLinks
from .packed_job import PackedJob

#: How many jobs one adding script takes.
ADD_STEP = 250
#: How many scripts or parts are sent together.
IN_FLIGHT = 8
#: Stored parts that are not committed expire after this time.
UNCOMMITTED_MS = 600_000

_HEAD = struct.Struct(">HhddIH8s")


class Added(NamedTuple):
    """The result of adding a job: its state, True if this call put it there, and the id of the job that is there."""

    state: str
    new: bool
    job_id: str


class Adder:
    """Adds jobs to queues; raises `RedisUnavailable` if Redis does not take them, `QueueFull` or `KeyReused`."""

    def __init__(self, links: CallerLinks, base_of: Callable[[str], str]) -> None:
        self._links = links
        self._base_of = base_of

    def add(self, jobs: Sequence[PackedJob]) -> list[Added]:
        """Add jobs, those of one queue all or not at all; a repeated call adds no waiting job twice."""
        found: dict[int, Added] = {}
        for queue in dict.fromkeys(job.queue for job in jobs):
            numbers = [i for i, job in enumerate(jobs) if job.queue == queue]
            own = [jobs[i] for i in numbers]
            added = self._add_directly(queue, own) if len(own) <= ADD_STEP else self._add_in_bulk(queue, own)
            found.update(zip(numbers, added, strict=True))
        return [found[i] for i in range(len(jobs))]

    def _add_directly(self, queue: str, jobs: Sequence[PackedJob]) -> list[Added]:
        arguments = [field for job in jobs for field in job.arguments()]
        (reply,) = self._links.run([Call("enqueue", self._base_of(queue), ("1", *arguments))])
        _check(queue, reply)
        return _added(jobs, reply)

    def _add_in_bulk(self, queue: str, jobs: Sequence[PackedJob]) -> list[Added]:
        base, bulk = self._base_of(queue), secrets.token_hex(8)
        bulk_parts = [jobs[at : at + ADD_STEP] for at in range(0, len(jobs), ADD_STEP)]
        self._store(keys.BULK.of(base, bulk), bulk_parts)
        (word, *more) = self._links.run([Call("commit_bulk", base, (bulk, len(bulk_parts), len(jobs)))])[0]
        _check(queue, [word, *more])
        if word == b"gone":
            raise RedisUnavailable("Redis lost a part of the jobs before they were committed; none was added")
        added: list[Added] = []
        last = len(bulk_parts) - 1
        for at in range(0, len(bulk_parts), IN_FLIGHT):
            numbers = range(at, min(at + IN_FLIGHT, len(bulk_parts)))
            replies = self._links.run(
                [Call("add_bulk_part", base, (bulk, n, "1" if n == last else "")) for n in numbers]
            )
            for n, reply in zip(numbers, replies, strict=True):
                added += _added(bulk_parts[n], reply)
        return added

    def _store(self, key: str, bulk_parts: Sequence[Sequence[PackedJob]]) -> None:
        for at in range(0, len(bulk_parts), IN_FLIGHT):
            commands: list[Sequence[Any]] = [
                ("HSET", key, at + n, _pack(part)) for n, part in enumerate(bulk_parts[at : at + IN_FLIGHT])
            ]
            self._links.run([*commands, ("PEXPIRE", key, UNCOMMITTED_MS)])


def _pack(jobs: Sequence[PackedJob]) -> bytes:
    found: list[bytes] = []
    for job in jobs:
        lengths = len(job.job_id), len(job.body), len(job.extra)
        head = _HEAD.pack(lengths[0], job.priority, job.delay_ms, job.created_ms, *lengths[1:], job.call)
        found += (head, job.job_id, job.body, job.extra)
    return b"".join(found)


def _check(queue: str, reply: Sequence[Any]) -> None:
    if reply and reply[0] == b"full":
        raise QueueFull(queue, int(reply[1]))
    if reply and reply[0] == b"asked":
        raise KeyReused(unpack_id(reply[1]))


def _added(jobs: Sequence[PackedJob], reply: Sequence[Any]) -> list[Added]:
    if not reply:
        # A heartbeat has added this part, because this call took long.
        return [Added("delayed" if job.delay_ms else "waiting", True, unpack_id(job.job_id)) for job in jobs]
    return [
        Added(reply[3 * n].decode(), bool(reply[3 * n + 1]), unpack_id(reply[3 * n + 2] or job.job_id))
        for n, job in enumerate(jobs)
    ]
