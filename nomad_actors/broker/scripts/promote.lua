-- include: record queue clock limits operator_calls
-- The operator's "now": delayed → waiting before it is due.
-- KEYS: 1 the queue's base
-- ARGV: 1 id, 2 the call's number ('' in an operation on many)
-- Returns: ok, missing, or the state that does not allow it
-- Closes: a lost reply, by the call's number.
local id = ARGV[1]
local reply = reply_to(ARGV[2])
if reply then return reply end
local state = state_of(id)
if not state then return 'missing' end
if state ~= 'delayed' then return state end
local now = now_ms()
local record = unpack_record(redis.call('HGET', KEY.jobs, id))
redis.call('ZREM', KEY.delayed, id)
if record then
  record.ready = now
  append_events(record, event(PROMOTED, now, ''))
  redis.call('HSET', KEY.jobs, id, pack_record(record))
end
append_waiting(id, record and record.priority or 0)
if not is_paused(now) then wake() end
return save_reply(ARGV[2], 'ok')
