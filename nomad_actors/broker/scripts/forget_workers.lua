-- include: record queue clock
-- Forgets workers that were not heard of for long, so that the list of them stays short.
-- KEYS: 1 the queue's base
-- ARGV: 1 for how long (ms)
-- Returns: how many were forgotten
local before, gone = raw_ms() - tonumber(ARGV[1]), 0
local all = redis.call('HGETALL', KEY.workers)
for i = 1, #all, 2 do
  local forgotten = all[i] ~= TICK and (#all[i + 1] < 8 or struct.unpack('>d', all[i + 1]) < before)
  if forgotten then gone = gone + redis.call('HDEL', KEY.workers, all[i]) end
end
return gone
