-- What the limiter's scripts share. KEYS: 1 the base of all keys. ARGV: 1–3 the conversion of Redis' TIME to the
-- application's clock (since, at, speed), 4 the request (JSON).
local input = cjson.decode(ARGV[4])
local SLOTS, DAY_MS = 60, 86400000
local MIN_RAMP_MS, MAX_RAMP_MS = 5000, 60000

local function read_now()
  local time, speed = redis.call('TIME'), tonumber(ARGV[3])
  local real = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
  return tonumber(ARGV[2]) + (real - tonumber(ARGV[1])) * speed
end
local now = read_now()

local function numbers(key, ...)
  local found = redis.call('HMGET', key, ...)
  for i = 1, #found do found[i] = tonumber(found[i] or 0) or 0 end
  return unpack(found)
end

-- Lets a key expire after so many ms of the application's clock; if that clock is stopped, of real time.
local function expire(key, ms)
  local speed = tonumber(ARGV[3])
  redis.call('PEXPIRE', key, math.ceil(speed > 0 and ms / speed or ms) + 1000)
end

local function brake_of(text)
  local brake = text and cjson.decode(text)
  -- Set before the clock went back: it would be in force for the size of the step.
  if brake and brake.since_ms > now + 1000 then return nil end
  return brake
end

local function read_brake(name)
  return brake_of(redis.call('HGET', KEY.brakes, name))
end

-- The brakes with these names, by name; in one call, as most requests find none.
local function read_brakes(names)
  local found = {}
  for i, text in ipairs(redis.call('HMGET', KEY.brakes, unpack(names))) do found[names[i]] = brake_of(text) end
  return found
end

-- Stops requests until a known time (`until_ms`), for a known time (`for_ms`), or for a time that doubles with each failure
-- of the probe after it (`base_ms` to `max_ms`). Requests that were under way when a brake was set do not double it.
local function set_brake(brake)
  local old = read_brake(brake.name)
  if old and now < old.until_ms and not brake.until_ms and not brake.for_ms then return end
  local strikes = (old and old.strikes or 0) + 1
  local doubled = math.min((brake.base_ms or 0) * 2 ^ math.min(strikes - 1, 20), brake.max_ms or 0)
  local until_ms = math.max(brake.until_ms or now + (brake.for_ms or doubled), old and old.until_ms or 0)
  redis.call('HSET', KEY.brakes, brake.name, cjson.encode({
    kind = brake.kind, reason = brake.reason, since_ms = old and old.since_ms or now, until_ms = until_ms,
    strikes = strikes, probes = brake.probes or (old and old.probes) or false,
    -- How many probes in a row could not say whether the service is back.
    unclear = brake.unclear and (old and old.unclear or 0) + 1 or 0,
  }))
  return until_ms
end

-- After a brake for all of ESI or SSO, requests start again slowly: for as long as it lasted, but for a minute at most.
local function lift(name, brake)
  redis.call('HDEL', KEY.brakes, name)
  redis.call('HDEL', KEY.stopped, name)
  if string.find(name, ':', 1, true) then return end
  local length = math.min(math.max(now - brake.since_ms, MIN_RAMP_MS), MAX_RAMP_MS)
  redis.call('HSET', KEY.ramps, name .. ':from', now, name .. ':until', now + length)
end

-- A bucket counts what was spent in slots of a sixtieth of its window. A slot's tokens return when the last of them would.
-- Reading changes nothing; write_bucket writes what it found.
local function read_bucket(name, window_ms)
  local bucket = { name = name, key = KEY.bucket(name), slot_ms = window_ms / SLOTS, window_ms = window_ms, returned = {}, spent = 0 }
  bucket.slot = math.floor(now / bucket.slot_ms)
  local window
  bucket.used, bucket.held, bucket.oldest, window, bucket.limit, bucket.full =
    numbers(bucket.key, 'used', 'held', 'oldest', 'window', 'limit', 'full')
  if window ~= window_ms or bucket.slot - bucket.oldest > 2 * SLOTS or bucket.slot < bucket.oldest then
    -- Another window has other slots, and so has a clock that went back: what was spent counts as spent now. After two
    -- windows everything has returned.
    local used = (window ~= window_ms or bucket.slot < bucket.oldest) and bucket.used or 0
    bucket.is_new, bucket.used, bucket.spent, bucket.oldest = true, used, used, bucket.slot
  end
  local ended = {}
  for slot = bucket.oldest, bucket.slot - SLOTS - 1 do ended[#ended + 1] = slot end
  if #ended == 0 then return bucket end
  for i, tokens in ipairs(redis.call('HMGET', bucket.key, unpack(ended))) do
    if tokens then
      bucket.used = bucket.used - tonumber(tokens)
      table.insert(bucket.returned, ended[i])
    end
  end
  bucket.oldest = bucket.slot - SLOTS
  return bucket
end

local function spend(bucket, tokens)
  if tokens <= 0 then return end
  bucket.used, bucket.spent = bucket.used + tokens, bucket.spent + tokens
end

local function write_bucket(bucket)
  if bucket.is_new then redis.call('DEL', bucket.key) end
  if #bucket.returned > 0 then redis.call('HDEL', bucket.key, unpack(bucket.returned)) end
  if bucket.spent > 0 then redis.call('HINCRBY', bucket.key, bucket.slot, bucket.spent) end
  redis.call('HSET', bucket.key, 'used', bucket.used, 'held', math.max(bucket.held, 0), 'oldest', bucket.oldest,
    'window', bucket.window_ms, 'limit', bucket.limit, 'full', bucket.full)
  -- What has only been reserved is settled or given up long before.
  if bucket.is_new or bucket.spent > 0 then expire(bucket.key, bucket.window_ms + 2 * bucket.slot_ms) end
end

-- When a bucket that was only read will have returned so many tokens.
local function returned_at(bucket, tokens)
  local freed = 0
  for slot = bucket.oldest, bucket.slot do
    local spent = bucket.is_new and (slot == bucket.slot and bucket.spent) or redis.call('HGET', bucket.key, slot)
    freed = freed + (tonumber(spent or 0) or 0)
    if freed >= tokens then return (slot + SLOTS + 1) * bucket.slot_ms end
  end
  return now + 1000
end

local ERRORS = 100
local function read_errors()
  local errors = {}
  errors.remaining, errors.reset, errors.held, errors.next = numbers(KEY.errors, 'remaining', 'reset', 'held', 'next')
  errors.reset = math.min(errors.reset, now + 61000)
  if now >= errors.reset then errors.remaining = ERRORS end
  return errors
end

local function write_errors(errors)
  redis.call('HSET', KEY.errors, 'remaining', errors.remaining, 'reset', errors.reset, 'held',
    math.max(errors.held, 0), 'next', errors.next)
end

local function count_error(errors)
  if now >= errors.reset then errors.reset = now + 60000 end
  errors.remaining = math.max(errors.remaining - 1, 0)
end

local function release(id, hold)
  redis.call('HDEL', KEY.holds, id)
  for _, each in ipairs(hold.under) do redis.call('ZREM', KEY.under_way(each), id) end
end
