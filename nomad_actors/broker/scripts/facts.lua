-- include: record queue clock limits stats
-- Reads the state of the queue at one instant, which health, metrics, pages and commands show; without the jobs themselves.
-- KEYS: 1 the queue's base
-- ARGV: 1 for how many minutes to read the statistics; 0 for none
-- Returns: 7 values.
--   1 counts and settings: now (ms), Redis' TIME (ms), how many jobs are waiting, active, delayed, completed, failed,
--     cancelled (of the failed), recovered, late heartbeats, poison; then, each '' if not set: the declared limit, the
--     operator's limit, the rate, the maximum length, the pauses (lib/limits.lua); what is subtracted from TIME (ms,
--     lib/clock.lua)
--   2 when the next delayed job is due (ms or '')
--   3 the time of the oldest start that the rate still counts (ms or '')
--   4 for each priority with waiting jobs: priority, since when the first of them has been ready (ms)
--   5 ACTIVE: id, lease   6 WORKERS: id, mark   7 entries of STATS
local MOST_MINUTES_BY_NAME = 60
local now = now_ms()
local meta = redis.call('HMGET', KEY.meta, 'recovered', 'late', 'poison', 'limit', 'limit_set', 'rate', 'max_length')
local counts = {
  string.format('%.3f', now), string.format('%.3f', clock.raw),
  redis.call('ZCARD', KEY.waiting), redis.call('HLEN', KEY.active), redis.call('ZCARD', KEY.delayed),
  redis.call('ZCARD', KEY.completed), redis.call('ZCARD', KEY.failed), redis.call('ZCARD', KEY.cancelled),
  tonumber(meta[1] or 0), tonumber(meta[2] or 0), tonumber(meta[3] or 0),
  meta[4] or '', meta[5] or '', meta[6] or '', meta[7] or '',
}
for _, text in ipairs(redis.call('HMGET', KEY.meta, unpack(PAUSES))) do
  counts[#counts + 1] = unpack_pause(text, now) and text or ''
end
counts[#counts + 1] = string.format('%.0f', clock.offset)

local function waiting_since()
  local found, from = {}, '-inf'
  -- One step for each priority in use: we have five, and 32 bounds those of other applications.
  for _ = 1, 32 do
    local first = redis.call('ZRANGEBYSCORE', KEY.waiting, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not first[1] then break end
    local priority = math.floor(tonumber(first[2]) / PRIORITY_STEP)
    local record = unpack_record(redis.call('HGET', KEY.jobs, first[1]))
    append(found, priority, string.format('%.3f', record and record.ready or now))
    from = string.format('%.17g', (priority + 1) * PRIORITY_STEP)
  end
  return found
end

-- A key of another type has no statistics, and does not affect the other facts.
local function stats_of(minutes)
  if minutes == 0 then return {} end
  local found
  if minutes > MOST_MINUTES_BY_NAME then
    found = redis.pcall('HVALS', KEY.stats)
  else
    local slots, this_minute = {}, math.floor(now / 60000)
    for i = 1, minutes do slots[i] = tostring((this_minute - i + 1) % STATS_MINUTES) end
    found = redis.pcall('HMGET', KEY.stats, unpack(slots))
  end
  return found.err and {} or found
end

local starts = string.match(meta[6] or '', '^(%d+) %d+$')
local next_due = redis.call('ZRANGE', KEY.delayed, 0, 0, 'WITHSCORES')[2]
local oldest_start = starts and redis.call('LINDEX', KEY.starts, '-' .. starts)
return {
  counts, next_due or '', oldest_start or '', waiting_since(), redis.call('HGETALL', KEY.active),
  redis.call('HGETALL', KEY.workers), stats_of(tonumber(ARGV[1])),
}
