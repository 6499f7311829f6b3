-- include: record queue clock limits
-- Pauses or resumes the queue: no job starts in any process until it is resumed, or its time has passed.
-- KEYS: 1 the queue's base
-- ARGV: 1 which pause (a field of meta), 2 'pause' or 'resume', 3 for how long (ms, or '' until it is resumed), 4 by whom,
--       5 why
-- Returns: 1 if that changed anything
-- Closes: a lost reply; a repeat does not change the time since when it is paused.
local now = now_ms()
-- After a write that frees memory, a full Redis accepts the next one; pausing must work on a full Redis.
redis.call('HDEL', KEY.meta, '')
local old = unpack_pause(redis.call('HGET', KEY.meta, ARGV[1]), now)
if ARGV[2] == 'pause' then
  local pause = { since = old and old.since or math.floor(now), by = ARGV[4], reason = ARGV[5] }
  if ARGV[3] ~= '' then pause['until'] = math.floor(now) + tonumber(ARGV[3]) end
  redis.call('HSET', KEY.meta, ARGV[1], cjson.encode(pause))
  redis.call('DEL', KEY.wake)
  -- A worker must learn when it ends.
  if pause['until'] then wake() end
  return old and 0 or 1
end
redis.call('HDEL', KEY.meta, ARGV[1])
if old and not is_paused(now) then wake() end
return old and 1 or 0
