-- include: record queue clock tags
-- Deletes all jobs of the queue; active ones settle without effect. Pauses, limits, counters and keys that are unique for a
-- time stay.
-- KEYS: 1 the queue's base
-- ARGV: none
-- Returns: 1
redis.call('UNLINK', KEY.jobs, KEY.waiting, KEY.delayed, KEY.active, KEY.completed, KEY.failed, KEY.cancelled)
redis.call('UNLINK', KEY.notes, KEY.next, KEY.unsure, KEY.unique, KEY.terms, KEY.failure_groups, KEY.failure_groups_seen)
redis.call('UNLINK', KEY.wake)
return 1
