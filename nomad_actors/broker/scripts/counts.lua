-- include: record queue clock limits
-- Counts the jobs by state, and tells what keeps them from starting or being added.
-- KEYS: 1 the queue's base
-- ARGV: none
-- Returns: now (ms), waiting, active, delayed, completed, failed, how many of these were cancelled, how many jobs were
--          recovered from lost workers, how many crashes were taken back, how many jobs failed because worker after worker
--          was lost with them, then each '' for none: the limit that is declared, the one that an operator set, the rate,
--          the most that may wait, and the pauses (lib/limits.lua); and what is taken off TIME (ms, lib/clock.lua)
local now = now_ms()
local meta = redis.call('HMGET', KEY.meta, 'recovered', 'late', 'poison', 'limit', 'limit_set', 'rate', 'max_length')
local answer = {
  string.format('%.3f', now), redis.call('ZCARD', KEY.waiting), redis.call('HLEN', KEY.active),
  redis.call('ZCARD', KEY.delayed), redis.call('ZCARD', KEY.completed), redis.call('ZCARD', KEY.failed),
  redis.call('ZCARD', KEY.cancelled),
  tonumber(meta[1] or 0), tonumber(meta[2] or 0), tonumber(meta[3] or 0),
  meta[4] or '', meta[5] or '', meta[6] or '', meta[7] or '',
}
for _, text in ipairs(redis.call('HMGET', KEY.meta, unpack(PAUSES))) do
  answer[#answer + 1] = unpack_pause(text, now) and text or ''
end
answer[#answer + 1] = string.format('%.0f', clock.offset)
return answer
