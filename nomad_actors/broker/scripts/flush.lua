-- include: record queue clock tags
-- Drops every job of the queue; what runs settles into nothing. Pauses, limits, counters and what is unique for a time stay.
-- KEYS: 1 the queue's base
-- Returns: 1
redis.call('UNLINK', JOBS, WAITING, DELAYED, ACTIVE, DONE, DEAD, WAKE, NOTES, NEXT, CALLED_OFF, TERMS, FAULTS, LAST_FAULTS, UNIQUE,
  UNSURE)
return 1
