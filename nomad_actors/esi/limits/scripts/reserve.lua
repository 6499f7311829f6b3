-- Reserves room for one request, or returns when there may be some. A repeated call with the same id changes nothing.
-- The request (JSON): id, brakes (names), concurrency (names and limits, the whole fleet first), cost
--   (the most tokens it can take), hold_ms, downtime (start and end in the day, ms; optional), bucket with limit (tokens for
--   this caller) and window_ms (optional), errors (true if it counts to the old error limit), ignore (a kind of brake that
--   does not stop it; optional), check (true: reserve nothing, only say whether anything may be sent now)
-- Returns: go, or probe, the name of the brake and how many probes before it could not tell, or wait, ms, cause, reason and
--   over how many ms those that wait shall come back
local CLOSED_AT, SLOWED_AT, ERRORS_SPREAD_MS = 20, 50, 10000
local PROBE_WAIT_MS, STARVING, MAX_SPREAD_MS = 10000, 1000, 120000

local function give_up_expired()
  local each = KEY.under_way(input.concurrency[1].name)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', each, '-inf', now, 'LIMIT', 0, 20)) do
    local text = redis.call('HGET', KEY.holds, id)
    if text then
      -- Nobody knows what became of it: count the worst.
      local hold = cjson.decode(text)
      if hold.bucket then
        local bucket = read_bucket(hold.bucket, hold.window_ms)
        bucket.held = bucket.held - hold.cost
        spend(bucket, hold.cost)
        write_bucket(bucket)
      end
      if hold.errors then
        local errors = read_errors()
        errors.held = errors.held - 1
        count_error(errors)
        write_errors(errors)
      end
      release(id, hold)
    end
    redis.call('ZREM', each, id)
  end
end

local function start_downtime()
  local downtime = input.downtime
  if not downtime then return end
  local time, day = now % DAY_MS, now - now % DAY_MS
  if time < downtime[1] or time >= downtime[2] or numbers(KEY.ramps, 'downtime') == day then return end
  redis.call('HSET', KEY.ramps, 'downtime', day)
  set_brake({
    name = input.brakes[1], kind = KIND.DOWNTIME, until_ms = day + downtime[2], probes = true,
    reason = "the game server's daily downtime",
  })
end

-- Each request without room gets a later moment than the one before: they return as fast as there will be room.
local function turn(name, cap)
  local latency, last = numbers(KEY.turns, 'latency', name)
  if latency == 0 then latency = 250 end
  -- Those beyond a minute's worth of turns share its end: a turn that nobody takes must not delay others for hours.
  local at = math.max(math.min(last, now + 60000), now + 1000) + math.min(latency, 2000) / cap
  redis.call('HSET', KEY.turns, name, at)
  return at - now
end

local function ramped(name, cap)
  local from, till = numbers(KEY.ramps, name .. ':from', name .. ':until')
  if now >= till then return cap end
  return math.max(1, math.floor(cap * (now - from) / (till - from)))
end

-- Those that a brake stopped in so many ms come back within as many: no faster than they came.
local function stopped(name, brake, wait_ms)
  redis.call('HINCRBY', KEY.stopped, name, 1)
  local is_for_few = string.match(name, '^bucket:') or string.match(name, '^character:')
  local spread = is_for_few and 0 or math.min(brake.until_ms - brake.since_ms, MAX_SPREAD_MS)
  return { 'wait', math.ceil(wait_ms), name, brake.reason, math.ceil(spread) }
end

if not input.check and redis.call('HEXISTS', KEY.holds, input.id) == 1 then return { 'go' } end
start_downtime()
give_up_expired()

local probed, probing, brakes = nil, nil, read_brakes(input.brakes)
for _, name in ipairs(input.brakes) do
  local brake = brakes[name]
  if brake and brake.kind ~= input.ignore then
    if now < brake.until_ms then return stopped(name, brake, brake.until_ms - now) end
    if brake.probes then
      if now < (brake.probe_until_ms or 0) then return stopped(name, brake, PROBE_WAIT_MS) end
      probed, probing = probed or name, probing or brake
    end
  end
end

local errors = input.errors and read_errors()
if errors then
  local left = errors.remaining - errors.held
  local reset = math.max(errors.reset - now, 1000)
  if left <= CLOSED_AT then
    return { 'wait', math.ceil(reset), 'errors', 'ESI allows only ' .. errors.remaining .. ' more errors', ERRORS_SPREAD_MS }
  end
  if left < SLOWED_AT and not input.check then
    if errors.next > now + reset then errors.next = now end
    local at = math.max(errors.next, now)
    errors.next = math.min(at + reset / (left - CLOSED_AT), now + reset)
    if at > now then
      write_errors(errors)
      return { 'wait', math.ceil(at - now), 'errors', 'ESI allows only ' .. errors.remaining .. ' more errors', 0 }
    end
  end
end

local bucket = input.bucket and read_bucket(input.bucket, input.window_ms)
if bucket then
  local room = input.limit - bucket.used - bucket.held
  if room < input.cost then
    redis.call('ZADD', KEY.starving, now, input.bucket)
    redis.call('ZREMRANGEBYRANK', KEY.starving, 0, -STARVING - 1)
    local wait = math.max(returned_at(bucket, input.cost - room) - now, 1000)
    return { 'wait', math.ceil(wait), 'bucket:' .. input.bucket, 'its tokens are spent', 0 }
  end
end
if input.check then return { 'go' } end

for i, each in ipairs(input.concurrency) do
  local cap = i == 1 and ramped(each.name, each.limit) or each.limit
  if redis.call('ZCARD', KEY.under_way(each.name)) >= cap then
    return { 'wait', math.ceil(turn(each.name, cap)), 'concurrency:' .. each.name, 'too many requests are under way', 0 }
  end
end

local hold = { cost = input.cost, bucket = input.bucket, window_ms = input.window_ms, errors = input.errors, under = {},
  probed = probed }
for i, each in ipairs(input.concurrency) do
  hold.under[i] = each.name
  redis.call('ZADD', KEY.under_way(each.name), now + input.hold_ms, input.id)
end
redis.call('HSET', KEY.holds, input.id, cjson.encode(hold))
if bucket then
  bucket.held = bucket.held + input.cost
  write_bucket(bucket)
end
if errors then
  errors.held = errors.held + 1
  write_errors(errors)
end
if not probed then return { 'go' } end
probing.probe_until_ms = now + input.hold_ms
redis.call('HSET', KEY.brakes, probed, cjson.encode(probing))
return { 'probe', probed, probing.unclear or 0 }
