-- include: _queue
-- Drops every job of the queue; what runs settles into nothing. The pause, the limit and the counters stay.
-- KEYS: 1 the queue's base
-- Returns: 1
redis.call('UNLINK', JOBS, WAITING, DELAYED, ACTIVE, DONE, DEAD, WAKE, NOTES)
return 1
