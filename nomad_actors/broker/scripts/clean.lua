-- include: record queue clock operator_calls tags slots page
-- Removes jobs of one state, in a bounded step.
-- KEYS: 1 the queue's base
-- ARGV: 1 state, 2 how long ago they must have ended (ms), 3 the maximum number, 4 the call's number; or
--       1 state, 2 '' and from 3 on the ids, of which those still in that state are removed
-- Closes: a lost reply, by the call's number: a repeat removes no more. With ids it removes only named jobs.
-- Returns: how many ids were checked (from 3 on; fewer if the jobs are long), then the removed ids, oldest first
local call = ARGV[2] ~= '' and ARGV[4] or ''
local reply = reply_to(call)
if reply then return reply end
local index, ids, checked, bytes = INDEX[ARGV[1]], {}, 0, 0
if ARGV[2] ~= '' then
  local before = string.format('(%.17g', now_ms() - tonumber(ARGV[2]))
  ids = redis.call('ZRANGEBYSCORE', index, '-inf', before, 'LIMIT', 0, tonumber(ARGV[3]))
else
  ids = { unpack(ARGV, 3) }
end
local chosen = {}
for _, id in ipairs(ids) do
  if bytes > MOST_BYTES then break end
  checked = checked + 1
  bytes = bytes + redis.call('HSTRLEN', KEY.jobs, id)
  if redis.call('ZSCORE', index, id) then chosen[#chosen + 1] = id end
end
ids = chosen
if #ids > 0 then
  local unbegun = ARGV[1] == 'waiting' or ARGV[1] == 'delayed'
  redis.call('ZREM', index, unpack(ids))
  drop(ids, unbegun)
  if unbegun then
    local now = now_ms()
    for _, id in ipairs(ids) do end_slot(id, now, 'removed', 0) end
  end
end
local reply = { checked, unpack(ids) }
return #ids > 0 and save_reply(call, reply) or reply
