-- include: _record _queue
-- Counts the jobs by state, and says how old the oldest are.
-- KEYS: 1 the queue's base
-- Returns: now (ms), waiting, active, delayed, completed, failed, paused since (ms or ''), limit (or '')
local meta = redis.call('HMGET', META, 'paused', 'limit')
return {
  string.format('%.3f', now_ms()), redis.call('ZCARD', WAITING), redis.call('HLEN', ACTIVE),
  redis.call('ZCARD', DELAYED), redis.call('ZCARD', DONE), redis.call('ZCARD', DEAD), meta[1] or '', meta[2] or '',
}
