-- What keeps waiting jobs from starting: pauses, the concurrency over all hosts, the number of starts in a period.
-- KEYS: meta, starts, delayed, waiting
-- ARGV: none
-- Returns: paused_at(now) → is paused, until when; is_paused(now); limit_at_a_time() → number or nil;
--          room_by_rate(now) → free starts, when the next is free; note_starts(now, count); next_start(now) → when to
--          request again, how many wait
-- Each has its own field of meta, so that resuming one pause does not resume another.
local PAUSES = { 'paused', 'paused:esi' }

-- A pause, stored as JSON (since, until, by, reason; ms); nil if there is none, it is over, or it cannot be read.
local function unpack_pause(text, now)
  local pause = text and decoded(text)
  if not pause or type(pause.since) ~= 'number' then return nil end
  local ends = pause['until']
  if ends ~= nil and (type(ends) ~= 'number' or ends <= now) then return nil end
  return pause
end

-- True if the queue is paused, and until when (nil: until it is resumed).
local function paused_at(now)
  local paused, resumes = false, 0
  for _, text in ipairs(redis.call('HMGET', KEY.meta, unpack(PAUSES))) do
    local pause = unpack_pause(text, now)
    if pause then
      paused = true
      resumes = math.max(resumes, pause['until'] or math.huge)
    end
  end
  return paused, paused and resumes < math.huge and resumes or nil
end

local function is_paused(now)
  return (paused_at(now))
end

-- The concurrency over all hosts: what an operator set, else what was declared.
local function limit_at_a_time()
  local meta = redis.call('HMGET', KEY.meta, 'limit_set', 'limit')
  return tonumber(meta[1] or nil) or tonumber(meta[2] or nil)
end

local function start_at(index)
  return tonumber(redis.call('LINDEX', KEY.starts, index) or nil) or 0
end

-- How many more jobs the rate allows to start now; if none, when the next one may start.
local function room_by_rate(now)
  local rate = redis.call('HGET', KEY.meta, 'rate')
  if not rate then return math.huge end
  local count, period = string.match(rate, '^(%d+) (%d+)$')
  if not count then return math.huge end
  count, period = tonumber(count), tonumber(period)
  -- A clock that was set back must not stop the queue for that long.
  if start_at(0) > now + 1000 then redis.call('DEL', KEY.starts) end
  -- A binary search finds the first start that still counts: there may be a hundred thousand of them.
  local used = redis.call('LLEN', KEY.starts)
  local low, high = 0, used
  while low < high do
    local middle = math.floor((low + high) / 2)
    if start_at(middle) <= now - period then low = middle + 1 else high = middle end
  end
  if low > 0 then redis.call('LTRIM', KEY.starts, low, -1) end
  used = used - low
  if used < count then return count - used end
  return 0, start_at(used - count) + period
end

local function note_starts(now, count)
  if count == 0 or redis.call('HEXISTS', KEY.meta, 'rate') == 0 then return end
  local times = {}
  for i = 1, count do times[i] = string.format('%.3f', now) end
  redis.call('RPUSH', KEY.starts, unpack(times))
end

-- When to request again if the clock is not sure: soon, but not in the past.
local function ask_later(at, sure_now, now, sure)
  if sure or not at then return at and string.format('%.17g', at) or '' end
  return string.format('%.17g', now + math.max(250, at - sure_now))
end

-- When a worker must request jobs even without a wake-up (nil for never): a job becomes due, a pause ends, or the rate
-- allows a start; and how many jobs wait.
local function next_start(now)
  local first = redis.call('ZRANGE', KEY.delayed, 0, 0, 'WITHSCORES')
  local at, waiting = tonumber(first[2] or nil), redis.call('ZCARD', KEY.waiting)
  -- The end of a pause counts even if no job waits yet, because a job that is added to a paused queue wakes no worker.
  local paused, free_at = paused_at(now)
  if not paused and waiting > 0 then
    local _
    _, free_at = room_by_rate(now)
  end
  if free_at then at = math.min(at or math.huge, free_at) end
  return at, waiting
end
