-- include: record queue clock limits operator_calls tags
-- The operator's retry: failed or completed → waiting, with its attempts reset.
-- KEYS: 1 the queue's base
-- ARGV: 1 id, 2 the token that the caller saw, 3 body, 4 '1' in an operation on many, which leaves a job whose unique key
--       another has; else the call's number in 5
-- Returns: ok, missing, changed (it ran in between), held (another job has its key), or the state that does not allow it
-- Closes: a lost reply, by the call's number.
local id, seen, body = ARGV[1], ARGV[2], ARGV[3]
local reply = reply_to(ARGV[5])
if reply then return reply end
local record = unpack_record(redis.call('HGET', KEY.jobs, id))
local state = state_of(id)
if not state then return 'missing' end
if state ~= 'failed' and state ~= 'completed' then return state end
if not record or record.token ~= seen then return 'changed' end
local mode, key = unique_of(record.tags)
local lasts = mode == UNTIL_START or mode == UNTIL_END
if ARGV[4] == '1' and lasts and (redis.call('HGET', KEY.unique, key) or id) ~= id then return 'held' end
local now = now_ms()
redis.call('ZREM', INDEX[state], id)
redis.call('HDEL', KEY.notes, id)
redis.call('ZREM', KEY.cancelled, id)
clear_failure_group(record, id)
record.attempts, record.crashes, record.flags, record.finished, record.ready = 0, 0, 0, 0, now
record.body = body
append_events(record, event(ENQUEUED, now, ''))
redis.call('HSET', KEY.jobs, id, pack_record(record))
append_waiting(id, record.priority)
-- Another job may have its key by now; the operator's request has priority.
if lasts then redis.call('HSETNX', KEY.unique, key, id) end
if not is_paused(now) then wake() end
return save_reply(ARGV[5], 'ok')
