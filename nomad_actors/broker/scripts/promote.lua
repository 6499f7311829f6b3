-- include: _record _queue _limits
-- The operator's "now": delayed → waiting before it is due.
-- KEYS: 1 the queue's base
-- ARGV: 1 id
-- Returns: ok, or missing, or the state that does not allow it
local id = ARGV[1]
local state = state_of(id)
if not state then return 'missing' end
if state ~= 'delayed' then return state end
local now = now_ms()
local record = unpack_record(redis.call('HGET', JOBS, id))
redis.call('ZREM', DELAYED, id)
if record then
  record.ready = now
  tell(record, event(PROMOTED, now, ''))
  redis.call('HSET', JOBS, id, pack_record(record))
end
append_waiting(id, record and record.priority or 0)
if not is_paused(now) then wake() end
return 'ok'
