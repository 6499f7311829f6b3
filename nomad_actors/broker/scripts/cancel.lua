-- include: record queue clock operator_calls tags slots next stats end
-- The operator's cancel: waiting, delayed → failed, marked as cancelled. An active job is marked, and its worker notified.
-- KEYS: 1 the queue's base
-- ARGV: 1 id, 2 the reason, 3 the message to the worker, and in an operation on many: 4 the state that it was found in,
--       5 the token of its last run
-- Returns: ok, asked, missing, or the state that does not allow it; or changed, if it has changed since it was found
local id, reason = ARGV[1], ARGV[2]
local state = state_of(id)
if not state then return 'missing' end
if not as_found(id, ARGV[4], ARGV[5]) then return 'changed' end
local now, record = now_ms(), unpack_record(redis.call('HGET', KEY.jobs, id))
if state == 'active' then
  local token, started, score, before = unpack_lease(redis.call('HGET', KEY.active, id))
  redis.call('HSET', KEY.active, id, pack_lease(token, started, score, reason))
  -- Keep what was added after the cancel: this may be the repeat of a call whose reply was lost.
  if before == '' then forget_next(record and record.tags or '', id) end
  local control = KEY.control(hex(string.sub(token, 1, 8)))
  redis.call('RPUSH', control, ARGV[3])
  redis.call('PEXPIRE', control, 60000)
  return 'asked'
end
if state == 'failed' and record and has_flag(record, FLAG_CANCELLED) then return 'ok' end
if state == 'failed' or state == 'completed' then return state end
local score = redis.call('ZSCORE', INDEX[state], id)
record = record or record_of(id, state == 'waiting' and tonumber(score) or 0, now)
redis.call('ZREM', INDEX[state], id)
forget_next(record.tags, id)
finish_cancelled(record, id, now, reason)
redis.call('HSET', KEY.jobs, id, pack_record(record))
local tally = new_tally()
tally_outcome(tally, 'cancelled', actor_of(record))
write_tally(tally, now)
return 'ok'
