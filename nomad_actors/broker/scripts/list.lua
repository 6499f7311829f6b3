-- include: _queue
-- Reads a page of one state's jobs as they stand at one instant.
-- KEYS: 1 the queue's base
-- ARGV: 1 state, 2 first, 3 last (inclusive, as ZRANGE), 4 'rev' for newest first
-- Returns: 4 a job: id, record, lease (or ''), notes (or '')
local answer = {}
local function tell(id, lease)
  answer[#answer + 1] = id
  answer[#answer + 1] = redis.call('HGET', JOBS, id) or ''
  answer[#answer + 1] = lease
  answer[#answer + 1] = redis.call('HGET', NOTES, id) or ''
end

if ARGV[1] == 'active' then
  -- Bounded by the workers' places; the reader sorts and cuts.
  local all = redis.call('HGETALL', ACTIVE)
  for i = 1, #all, 2 do tell(all[i], all[i + 1]) end
  return answer
end
local command = ARGV[4] == 'rev' and 'ZREVRANGE' or 'ZRANGE'
for _, id in ipairs(redis.call(command, INDEX[ARGV[1]], ARGV[2], ARGV[3])) do tell(id, '') end
return answer
