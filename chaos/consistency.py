"""What must hold in a queue's keys at every instant, looked up in Redis itself."""

from __future__ import annotations

import redis

INDEXES = ("waiting", "delayed", "completed", "failed")


def states_of(client: redis.Redis, base: str, stored_id: bytes) -> list[str]:
    """Return every state whose index holds an id."""
    found = [name for name in INDEXES if client.zscore(f"{base}:{name}", stored_id) is not None]  # type: ignore[arg-type]
    if client.hexists(f"{base}:active", stored_id):  # type: ignore[arg-type]
        found.append("active")
    return found


def check_queue(client: redis.Redis, base: str = "nomad:{default}") -> None:
    """Check that there is a record for each indexed id, and one index for each record."""
    for stored_id in client.hkeys(f"{base}:jobs"):
        assert len(states_of(client, base, stored_id)) == 1, stored_id
    indexed = sum(client.zcard(f"{base}:{name}") for name in INDEXES) + client.hlen(f"{base}:active")
    assert indexed == client.hlen(f"{base}:jobs")
