-- include: record queue clock operator_calls tags slots
-- Removes one job: waiting, delayed, completed or failed → –.
-- KEYS: 1 the queue's base
-- ARGV: 1 id, and in an operation on many: 2 the state that it was found in, 3 the token of its last run;
--       else 2 and 3 '', 4 the call's number
-- Closes: a lost reply, by the call's number.
-- Returns: ok, missing or active; or changed, if it has changed since it was found
local id = ARGV[1]
local state = nil
local reply = reply_to(ARGV[4])
if reply then return reply end
if redis.call('HEXISTS', KEY.active, id) == 1 then return 'active' end
if not as_found(id, ARGV[2], ARGV[3]) then return 'changed' end
for name, index in pairs(INDEX) do
  if redis.call('ZREM', index, id) == 1 then state = name end
end
if state == 'waiting' or state == 'delayed' then end_slot(id, now_ms(), 'removed', 0) end
local had = redis.call('HEXISTS', KEY.jobs, id)
drop({ id }, state == 'waiting' or state == 'delayed')
return (state or had == 1) and save_reply(ARGV[4], 'ok') or 'missing'
