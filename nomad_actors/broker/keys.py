"""Every Redis key of the broker: its name, type and meaning. No other code builds a key, in Python or Lua.

All keys of a queue begin with the queue's base, `<namespace>:{<queue>}`: one hash tag, so that a script can use them
together on a Redis Cluster. A script gets the base in KEYS[1] and uses ``KEY.waiting`` or ``KEY.bulk(id)``, which the
loader (`scripts`) defines from this table. An ACL needs `~<namespace>:*`.

A job's id is stored as 16 bytes if it is a UUID in its usual spelling, else as its text (`records.pack_id`). The ESI
cache, which may be in another Redis, names its own keys in `esi/cache.py`.
"""

from __future__ import annotations

from typing import NamedTuple

#: The distance between two priorities in a waiting job's score: each has room for 2^40 jobs.
PRIORITY_STEP = 2**40
#: Scores are doubles: above this, two neighbouring scores would be equal.
MAX_PRIORITY = 8191
#: The field of ``workers`` that is not a worker.
TICK_FIELD = b"tick"


class Key(NamedTuple):
    """One key, or a family of keys whose `suffix` has a ``{}`` for the part that differs."""

    suffix: str
    type: str
    meaning: str

    @property
    def is_family(self) -> bool:
        """True if there is a key for each part, for example one for each bulk."""
        return "{}" in self.suffix

    def of(self, base: str, part: str = "") -> str:
        """Return the key's name; `base` is a queue's base, or the namespace for a key that belongs to no queue."""
        return f"{base}:{self.suffix.format(part)}"


#: The keys of one queue, by the name that scripts use: ``KEY.<name>``.
QUEUE_KEYS: dict[str, Key] = {}


def _key(name: str, key_type: str, meaning: str, *, suffix: str = "") -> Key:
    QUEUE_KEYS[name] = Key(suffix or name, key_type, meaning)
    return QUEUE_KEYS[name]


# Where each job is: its record, and the index of its state.
JOBS = _key("jobs", "hash", "id → record (`records`): header, body, story")
WAITING = _key("waiting", "zset", "id, by priority · 2^40 + sequence: the order of starting")
DELAYED = _key("delayed", "zset", "id, by the due time (ms)")
ACTIVE = _key("active", "hash", "id → lease: token, start time, score in `waiting`, reason of a requested cancel")
COMPLETED = _key("completed", "zset", "id, by the time it ended (ms)")
FAILED = _key("failed", "zset", "id, by the time it ended (ms)")
CANCELLED = _key("cancelled", "zset", "id of each failed job that an operator cancelled, by the time it ended (ms)")

# Data of a job outside its record.
NOTES = _key("notes", "hash", "id → what the job reported while it ran: progress and log lines (`records/notes.py`)")
NEXT = _key("next", "hash", "id of an active or retried job → the job that follows it (`lib/next.lua`)")
UNSURE = _key("unsure", "zset", "id of each job delayed while no worker was heard from, by due time (`lib/clock.lua`)")

# The queue itself.
META = _key(
    "meta",
    "hash",
    "`seq` the last sequence number; `paused` and `paused:esi` the pauses; `limit` the declared concurrency over all "
    "hosts, `limit_set` the one that an operator set instead; `rate` of starts; `max_length`; `keep` the retention; "
    "counts of `recovered` and `poison` jobs and of `late` heartbeats",
)
STARTS = _key("starts", "list", "the times of the last starts (ms), if there is a rate limit")
STATS = _key("stats", "hash", "minute modulo 1500 → counts of what ended in that minute (`records/stats.py`)")
TOTALS = _key("totals", "hash", "outcome, colon, actor → number of such runs that ended so far (`lib/stats.lua`)")

# Indexes to find jobs, and keys that prevent adding them twice.
TERMS = _key("terms", "zset", "term, time (ms, 6 bytes), id; all scores are 0 (`records/tags.py`)")
FAILURE_GROUPS = _key("failure_groups", "hash", "term → first and last seen, how often, its cause", suffix="faults")
FAILURE_GROUPS_SEEN = _key("failure_groups_seen", "zset", "term, by when it was last seen (ms)", suffix="faults:last")
UNIQUE = _key("unique", "hash", "unique key (16 bytes) → id of the job that has it until it starts or ends")
UNIQUE_FOR_A_TIME = _key("unique_for_a_time", "string", "id of the job that has it; expires", suffix="unique:{}")
IDEMPOTENCY = _key("idempotency", "string", "digest of the request, id of its job; expires", suffix="asked:{}")

# Operations on many jobs, and operators' calls.
BULKS = _key("bulks", "list", "ids of the bulks that are committed but not completely added")
BULK = _key("bulk", "hash", "part → its jobs; once committed also its progress (`lib/bulk.lua`)", suffix="bulk:{}")
BULK_DONE = _key("bulk_done", "string", "marks an added bulk, for a repeated commit; expires", suffix="bulk:{}:done")
OPERATIONS = _key("operations", "hash", "id → record of a bulk operation (JSON)")
REPLY = _key("reply", "string", "the reply to an operator's call, for a repeated call; expires", suffix="answer:{}")

# Workers.
WAKE = _key("wake", "list", "at most one token: there is work for an idle worker")
WORKERS = _key(
    "workers",
    "hash",
    "worker id → last heartbeat (ms), last request, for how long ticks missed it (ms), name; `tick` → the last tick "
    "and trimming (ms), the queue's clock (`lib/clock.lua`)",
)
CONTROL = _key("control", "list", "messages to worker ID (hex): wake up, or cancel a job; expires", suffix="control:{}")

# Schedules whose jobs go to this queue.
SCHEDULES = _key("schedules", "hash", "name → record of a schedule (JSON)")
SLOTS = _key("slots", "hash", "due time (ms) → the state of the slot (JSON); `last_success` (ms)", suffix="slots:{}")

#: Of every type; the process that creates them removes them.
PROBE = _key("probe", "any", "test data for the check of permitted commands at startup", suffix="probe:{}")

# Of no queue.
SCHEDULERS = Key("schedulers", "hash", "scheduler → its last heartbeat and the state of its clock (JSON)")
SCHEDULE_CHANGES = Key("schedules:changes", "string", "number that grows with every change of a schedule")
#: The keys that belong to no queue; they begin with the namespace.
NAMESPACE_KEYS = {"schedulers": SCHEDULERS, "schedule_changes": SCHEDULE_CHANGES}


def base(namespace: str, queue: str) -> str:
    """Return the prefix of every key of `queue`."""
    return f"{namespace}:{{{queue}}}"
