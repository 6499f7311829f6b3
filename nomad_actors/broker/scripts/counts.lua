-- include: _record _queue
-- Counts the jobs by state, and says how old the oldest are.
-- KEYS: 1 the queue's base
-- Returns: now (ms), waiting, active, delayed, completed, failed, paused since (ms or ''), limit (or ''), how many jobs
--          were recovered from lost workers, how many crashes were taken back
local meta = redis.call('HMGET', META, 'paused', 'limit', 'recovered', 'late')
return {
  string.format('%.3f', now_ms()), redis.call('ZCARD', WAITING), redis.call('HLEN', ACTIVE),
  redis.call('ZCARD', DELAYED), redis.call('ZCARD', DONE), redis.call('ZCARD', DEAD), meta[1] or '', meta[2] or '',
  tonumber(meta[3] or 0), tonumber(meta[4] or 0),
}
