-- include: _record _queue
-- Pauses or resumes the queue: no job starts in any process until it is resumed.
-- KEYS: 1 the queue's base
-- ARGV: 1 'pause' or 'resume'
-- Returns: 1 when that changed anything
if ARGV[1] == 'pause' then
  local changed = redis.call('HSETNX', META, 'paused', string.format('%.0f', now_ms()))
  redis.call('DEL', WAKE)
  return changed
end
local changed = redis.call('HDEL', META, 'paused')
if changed == 1 then wake() end
return changed
