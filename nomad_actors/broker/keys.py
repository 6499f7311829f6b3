"""Every Redis key of the broker: its name, type and meaning. Nothing else builds a key, in Python or Lua.

All keys of a queue begin with the queue's base, `<namespace>:{<queue>}`: one hash tag, so that a script may use them
together on a Redis Cluster. A script gets the base in KEYS[1] and writes ``KEY.waiting`` or ``KEY.bulk(id)``; the
loader (`scripts`) puts those names in front of it, made from this table. An ACL needs `~<namespace>:*`.

An id is 16 bytes when it is a UUID in its usual spelling, else its text (`records.pack_id`). The ESI cache, which may
be in another Redis, names its own keys in `esi/cache.py`.
"""

from __future__ import annotations

from typing import NamedTuple

#: What one priority level is worth in a waiting job's score: room for 2^40 jobs a level.
PRIORITY_STEP = 2**40
#: Scores are doubles: beyond this, two neighbours could not be told apart.
MAX_PRIORITY = 8191
#: The field of ``workers`` that is no worker.
TICK_FIELD = b"tick"


class Key(NamedTuple):
    """One key, or one family of keys: `suffix` has a ``{}`` where the part that differs stands."""

    suffix: str
    type: str
    meaning: str

    @property
    def is_family(self) -> bool:
        """True if there is one key for each part, such as one for each bulk."""
        return "{}" in self.suffix

    def of(self, base: str, part: str = "") -> str:
        """Return the key's name; `base` is that of a queue, or the namespace for a key of no queue."""
        return f"{base}:{self.suffix.format(part)}"


#: The keys of one queue, by the name that scripts use: ``KEY.<name>``.
QUEUE_KEYS: dict[str, Key] = {}
#: The keys that belong to no queue; these begin with the namespace.
NAMESPACE_KEYS: dict[str, Key] = {}


def _key(name: str, key_type: str, meaning: str, *, suffix: str = "", keys: dict[str, Key] = QUEUE_KEYS) -> Key:
    keys[name] = Key(suffix or name, key_type, meaning)
    return keys[name]


# Where each job is: its record, and the index of its state.
JOBS = _key("jobs", "hash", "id → record (`records`): header, body, story")
WAITING = _key("waiting", "zset", "id, by priority · 2^40 + sequence: the order of starting")
DELAYED = _key("delayed", "zset", "id, by the due time (ms)")
ACTIVE = _key("active", "hash", "id → lease: token, start time, score in `waiting`, why it is to be cancelled")
COMPLETED = _key("completed", "zset", "id, by the time it ended (ms)")
FAILED = _key("failed", "zset", "id, by the time it ended (ms)")
CANCELLED = _key("cancelled", "zset", "id of each failed job that an operator cancelled, by the time it ended (ms)")

# What belongs to a job beside its record.
NOTES = _key("notes", "hash", "id → what the job reported while it ran: progress and log lines (`records/notes.py`)")
NEXT = _key("next", "hash", "id of a job that runs or will be retried → the job that follows it (`lib/next.lua`)")
UNSURE = _key("unsure", "zset", "id of each job delayed while no worker was heard, by the due time (`lib/clock.lua`)")

# The queue itself.
META = _key(
    "meta",
    "hash",
    "`seq` the last sequence number; `paused` and `paused:esi` the pauses; `limit` the declared number of jobs at a "
    "time over all hosts, `limit_set` an operator's instead; `rate` of starts; `max_length`; `keep` the retention; "
    "counts of `recovered` and `poison` jobs and of `late` heartbeats",
)
STARTS = _key("starts", "list", "the times of the last starts (ms), while there is a rate")
STATS = _key("stats", "hash", "minute modulo 1500 → what ended in that minute (`records/stats.py`)")
TOTALS = _key("totals", "hash", "outcome, colon, actor → how many such runs ever ended (`lib/stats.lua`)")

# How jobs are found, and what keeps them from being added twice.
TERMS = _key("terms", "zset", "term, time (ms, 6 bytes), id; all scores are 0 (`records/tags.py`)")
FAILURE_GROUPS = _key(
    "failure_groups", "hash", "term → first and last seen, how often, what its failed jobs share", suffix="faults"
)
FAILURE_GROUPS_SEEN = _key(
    "failure_groups_seen", "zset", "term of a failure group, by when it was last seen (ms)", suffix="faults:last"
)
UNIQUE = _key("unique", "hash", "unique key (16 bytes) → id of the job that has it until it starts or ends")
UNIQUE_FOR_A_TIME = _key(
    "unique_for_a_time", "string", "id of the job that has this unique key for a time; expires", suffix="unique:{}"
)
IDEMPOTENCY = _key(
    "idempotency",
    "string",
    "digest of the request, id of its job: a caller's idempotency key; expires",
    suffix="asked:{}",
)

# Operations on many jobs, and operators' calls.
BULKS = _key("bulks", "list", "ids of the bulks that are committed and not all added")
BULK = _key(
    "bulk",
    "hash",
    "part → its jobs; once committed also `next`, `parts`, `left`, `touched` (`lib/bulk.lua`)",
    suffix="bulk:{}",
)
BULK_DONE = _key(
    "bulk_done", "string", "this bulk is added, for a repeat of its commit; expires", suffix="bulk:{}:done"
)
OPERATIONS = _key("operations", "hash", "id → record of a bulk operation (JSON)")
REPLY = _key("reply", "string", "the reply to an operator's call, for its repeat; expires", suffix="answer:{}")

# Workers.
WAKE = _key("wake", "list", "at most one token: there is work for an idle worker")
WORKERS = _key(
    "workers",
    "hash",
    "worker id → last heard (ms), last request, for how long ticks missed it (ms), name; `tick` → the last tick and "
    "trimming (ms), the queue's clock (`lib/clock.lua`)",
)
CONTROL = _key(
    "control", "list", "what worker ID (hex) must hear: wake up, or cancel a job; expires", suffix="control:{}"
)

# Schedules whose jobs go to this queue.
SCHEDULES = _key("schedules", "hash", "name → record of a schedule (JSON)")
SLOTS = _key(
    "slots",
    "hash",
    "due time (ms) → what became of this schedule's slot (JSON); `last_success` (ms)",
    suffix="slots:{}",
)


#: Of every type; removed by whoever made it.
PROBE = _key("probe", "any", "what every command is tried on at a start", suffix="probe:{}")

SCHEDULERS = _key(
    "schedulers", "hash", "scheduler → its last heartbeat and the state of its clock (JSON)", keys=NAMESPACE_KEYS
)
SCHEDULE_CHANGES = _key(
    "schedule_changes",
    "string",
    "grows with every change of a schedule",
    suffix="schedules:changes",
    keys=NAMESPACE_KEYS,
)


def base(namespace: str, queue: str) -> str:
    """Return what every key of `queue` begins with."""
    return f"{namespace}:{{{queue}}}"


def control(base_key: str, worker_id: bytes) -> str:
    """Return the key that a worker's waiter listens on: the worker wakes itself by it, an operator cancels a job."""
    return CONTROL.of(base_key, worker_id.hex())
