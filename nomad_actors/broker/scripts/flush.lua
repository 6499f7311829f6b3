-- include: record queue clock tags
-- Drops every job of the queue; what runs settles into nothing. Pauses, limits, counters and what is unique for a time stay.
-- KEYS: 1 the queue's base
-- Returns: 1
redis.call('UNLINK', KEY.jobs, KEY.waiting, KEY.delayed, KEY.active, KEY.completed, KEY.failed, KEY.wake, KEY.notes, KEY.next, KEY.cancelled, KEY.terms, KEY.failure_groups, KEY.failure_groups_seen, KEY.unique,
  KEY.unsure)
return 1
