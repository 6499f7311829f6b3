"""Every Redis key of a queue: its name, type and meaning, in one place.

All keys of a queue share one hash tag, so that a script may touch them together on a Redis Cluster. A script is given
the base alone and adds the suffix; an ACL needs `~<namespace>:*`.

==============  ====  ==================================================================================
suffix        type    meaning
==============  ====  ==================================================================================
``jobs``      hash    id → record (`records`): header, body, story
``waiting``   zset    id, by priority · 2^40 + sequence: the order of starting
``delayed``   zset    id, by the due time, ms
``active``    hash    id → lease: token, start time, place in ``waiting``, why it shall be cancelled
``completed`` zset    id, by the time of ending, ms
``failed``    zset    id, by the time of ending, ms
``cancelled`` zset    id of the failed jobs that an operator cancelled, by the time of ending, ms
``notes``     hash    id → what the job said of itself: progress, log (`notes`)
``next``      hash    id of a job that runs, or is to be retried → what was added anew meanwhile (``lib/next.lua``)
``meta``      hash    ``seq`` the last sequence number; ``paused`` and ``paused:esi`` (`holds`); ``limit`` of jobs at a
                      time over all hosts, ``limit_set`` that an operator put in its place, ``rate`` of starts,
                      ``max_length``; ``keep`` of ended jobs; counted: ``recovered`` and ``poison`` jobs,
                      ``late`` signs of life
``unsure``    zset    id of the jobs delayed while no worker was heard of, by the due time, ms (``lib/clock.lua``)
``starts``    list    when the last jobs started, while there is a rate
``terms``     zset    term, time (ms, 6 bytes), id; all scores 0: what jobs are found by (`tags`)
``faults``    hash    term → first and last seen, how often, and what the failed jobs of that term have in common
``faults:last``  zset  term, by when it was last seen
``unique``    hash    unique key (16 bytes) → id of the job that holds it until it starts or ends
``unique:KEY``, ``asked:KEY``  string  id of the job of a key that is held for a time, or of a caller's own key; expire
``bulks``     list    ids of bulks that are decided on and not added yet; ``bulk:ID`` hash: part → its jobs (`adding`)
``operations``  hash  id → record of a bulk operation (JSON)
``answer:CALL``  string  what an operator's call was answered, for its repeat; expires
``wake``      list    at most one token: "there is work and nobody was told"
``workers``   hash    worker id → last heard (ms), last request number, how long ticks missed it (ms), name;
                      ``tick`` → the last tick, the last trimming (ms), the queue's clock (``lib/clock.lua``)
``stats``     hash    minute modulo 1500 → what ended in that minute (`stats`)
``totals``    hash    outcome, colon, actor → how many such runs ever ended (``lib/stats.lua``)
``control:ID``  list  what worker ID is told: to wake, or to cancel a job; expires
==============  ====  ==================================================================================

An id is 16 bytes when it is a UUID in its usual spelling, else its text (`records.pack_id`).
"""

from __future__ import annotations

#: The type of each key that has one name, by its suffix: what the table above says, as data.
TYPES = {
    **dict.fromkeys(("jobs", "active", "notes", "next", "meta", "faults", "unique", "operations"), "hash"),
    **dict.fromkeys(("workers", "stats", "totals", "schedules"), "hash"),
    **dict.fromkeys(("waiting", "delayed", "completed", "failed", "cancelled", "terms", "faults:last"), "zset"),
    "unsure": "zset",
    **dict.fromkeys(("starts", "bulks", "wake"), "list"),
}

#: What one priority level is worth in a waiting job's score: room for 2^40 jobs a level.
PRIORITY_STEP = 2**40

#: Scores are doubles: beyond this, two neighbours could not be told apart.
MAX_PRIORITY = 8191
#: The field of ``workers`` that is no worker.
TICK_FIELD = b"tick"


def base(namespace: str, queue: str) -> str:
    """Return what every key of `queue` begins with."""
    return f"{namespace}:{{{queue}}}"


def totals(base_key: str) -> str:
    """Return the key of how many runs ever ended, by actor and outcome."""
    return f"{base_key}:totals"


def wake(base_key: str) -> str:
    """Return the key that an idle worker's waiter blocks on."""
    return f"{base_key}:wake"


def control(base_key: str, worker_id: bytes) -> str:
    """Return the key by which a worker is told something: by itself to wake, by an operator to cancel a job."""
    return f"{base_key}:control:{worker_id.hex()}"
