"""Invariants of a queue's keys, checked in Redis itself."""

from __future__ import annotations

import redis

from nomad_actors.broker import records
from nomad_actors.broker.errors import UnreadableBody
from nomad_actors.broker.records import Flag
from nomad_actors.broker.records.tags import TERM_BYTES, UniqueUntil
from nomad_actors.broker.states import State

INDEXES = tuple(state.value for state in State if state is not State.ACTIVE)


def states_of(client: redis.Redis, base: str, stored_id: bytes) -> list[str]:
    """Return every state whose index contains an id."""
    found = [name for name in INDEXES if client.zscore(f"{base}:{name}", stored_id) is not None]  # type: ignore[arg-type]
    if client.hexists(f"{base}:active", stored_id):  # type: ignore[arg-type]
        found.append("active")
    return found


def check_queue(client: redis.Redis, base: str = "nomad:{default}") -> None:
    """Check that each indexed id has a record and each record is in one index."""
    for stored_id in client.hkeys(f"{base}:jobs"):
        assert len(states_of(client, base, stored_id)) == 1, stored_id
    indexed = sum(client.zcard(f"{base}:{name}") for name in INDEXES) + client.hlen(f"{base}:active")
    assert indexed == client.hlen(f"{base}:jobs")
    cancelled = {
        stored_id
        for stored_id, value in client.hgetall(f"{base}:jobs").items()
        if client.zscore(f"{base}:failed", stored_id) is not None and _has_flag(value, Flag.CANCELLED)
    }
    assert cancelled == set(client.zrange(f"{base}:cancelled", 0, -1))
    check_tags(client, base)


def _has_flag(value: bytes, flag: Flag) -> bool:
    try:
        return bool(records.unpack_head(value)[0].flags & flag)
    except UnreadableBody:
        return False


def check_tags(client: redis.Redis, base: str) -> None:
    """Check that terms, failure groups and held unique keys match the existing jobs exactly."""
    entries: set[bytes] = set()
    groups: set[bytes] = set()
    for stored_id, value in client.hgetall(f"{base}:jobs").items():
        found = _entries(stored_id, value)
        entries.update(found)
        if found and records.unpack_head(value)[0].flags & Flag.FAILURE_GROUP:
            groups.add(found[-1][:TERM_BYTES])
    assert entries == set(client.zrange(f"{base}:terms", 0, -1))
    assert groups == set(client.hkeys(f"{base}:faults")) == set(client.zrange(f"{base}:faults:last", 0, -1))
    for key, holder in client.hgetall(f"{base}:unique").items():
        _check_holder(client, base, key, holder)


def _check_holder(client: redis.Redis, base: str, key: bytes, holder: bytes) -> None:
    """Check that a unique key is held by a job that still needs it, or by the one that follows it."""
    (state,) = states_of(client, base, holder)
    value = client.hget(f"{base}:jobs", holder)  # type: ignore[arg-type]
    tags = value[records.HEADER.size + 1 :][: value[records.HEADER.size]]  # type: ignore[index]
    held_in = {UniqueUntil.START: ("waiting", "delayed"), UniqueUntil.END: ("waiting", "delayed", "active")}
    is_holder = tags[1:17] == key and state in held_in.get(UniqueUntil(tags[0]), ())
    next_job = client.hget(f"{base}:next", holder) or b""  # type: ignore[arg-type]
    assert is_holder or key in next_job, f"{holder!r} is {state} and has the key {key.hex()}"  # type: ignore[operator]


def _entries(stored_id: bytes, value: bytes) -> list[bytes]:
    """Return a record's entries in the index, that of its failure group last."""
    try:
        header, body = records.unpack_head(value)
    except UnreadableBody:
        return []
    tags = value[records.HEADER.size + 1 : body.start]
    terms = tags[1:] if tags[:1] == b"\0" else tags[17:]
    times = [header.created_ms] * (len(terms) // TERM_BYTES)
    if header.flags & Flag.FAILURE_GROUP:
        times[-1] = header.finished_ms
    return [
        terms[i * TERM_BYTES : (i + 1) * TERM_BYTES] + int(at).to_bytes(6, "big") + stored_id
        for i, at in enumerate(times)
    ]
