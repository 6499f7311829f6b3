-- include: record queue clock limits
-- Reads the score of the job that would start next, for a worker with fewer threads than slots.
-- KEYS: 1 the queue's base
-- ARGV: none
-- Returns: the score, or ''
if is_paused(now_ms()) then return '' end
return redis.call('ZRANGE', KEY.waiting, 0, 0, 'WITHSCORES')[2] or ''
