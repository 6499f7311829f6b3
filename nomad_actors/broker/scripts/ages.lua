-- include: record queue clock
-- Tells since when the first job of each priority waits, and since when the longest-running one runs.
-- KEYS: 1 the queue's base
-- ARGV: none
-- Returns: now (ms), start of the longest active (ms or ''), then 2 a priority: priority, ready (ms)
local now = now_ms()
local earliest = ''
local all = redis.call('HGETALL', KEY.active)
for i = 1, #all, 2 do
  local _, started = unpack_lease(all[i + 1])
  if earliest == '' or started < earliest then earliest = started end
end
local answer = { string.format('%.3f', now), earliest == '' and '' or string.format('%.3f', earliest) }
local from = '-inf'
-- One step a priority in use; five of ours, and a bound for others'.
for _ = 1, 32 do
  local first = redis.call('ZRANGEBYSCORE', KEY.waiting, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if not first[1] then break end
  local priority = math.floor(tonumber(first[2]) / PRIORITY_STEP)
  local record = unpack_record(redis.call('HGET', KEY.jobs, first[1]))
  answer[#answer + 1] = priority
  answer[#answer + 1] = string.format('%.3f', record and record.ready or now)
  from = string.format('%.17g', (priority + 1) * PRIORITY_STEP)
end
return answer
