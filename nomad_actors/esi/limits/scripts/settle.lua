-- Ends a request: what it really cost replaces what it had reserved. A repeated call changes nothing.
-- The request (JSON): id, spent (tokens), bucket with limit and window_ms (those that the response names, else those of the
--   reservation; optional), remaining (tokens by ESI's count, optional), is_error, error_remaining
--   and error_reset_ms (ESI's count of the old error limit, optional), latency_ms, ok (ESI gave an answer to what was asked),
--   brakes (those that it was checked against), brake (to set; optional), failing (route, character, brake to set if it
--   fails for `characters` of them; optional), works (a route that just worked; optional), token_ok (ESI took the access token)
-- Returns: 1, until when a brake was set (ms), or ''; then the brakes that were lifted
local FAILING_MS, PROBE_WAIT_MS = 600000, 10000

local text = redis.call('HGET', KEY.holds, input.id)
-- Without it the request took too long, and the worst was counted; what its response says of all others is true all the same.
local hold = text and cjson.decode(text) or {}
if text then release(input.id, hold) end

local FULL, FULLEST = 0.5, 1000
-- The bucket may be another one than was reserved, or have another window: ESI has changed the limits.
local function settle_bucket()
  local bucket = hold.bucket and read_bucket(hold.bucket, hold.window_ms)
  if bucket then bucket.held = bucket.held - hold.cost end
  if input.bucket and (input.bucket ~= hold.bucket or input.window_ms ~= hold.window_ms) then
    if bucket then write_bucket(bucket) end
    bucket = read_bucket(input.bucket, input.window_ms)
  end
  if not bucket then return end
  spend(bucket, input.spent)
  -- Somebody else uses this application too, or ESI counted what we did not.
  if input.remaining then spend(bucket, input.limit - bucket.used - bucket.held - input.remaining) end
  local share, was_full = (bucket.used + bucket.held) / input.limit, bucket.full == 1
  bucket.limit, bucket.full = input.limit, share < FULL and 0 or 1
  write_bucket(bucket)
  if share >= FULL then
    redis.call('ZADD', KEY.fullest, share, bucket.name)
    redis.call('ZREMRANGEBYRANK', KEY.fullest, 0, -FULLEST - 1)
  elseif was_full then
    redis.call('ZREM', KEY.fullest, bucket.name)
  end
end
if text then settle_bucket() end

if hold.errors or input.error_remaining then
  local errors = read_errors()
  if hold.errors then errors.held = errors.held - 1 end
  if input.error_remaining then
    local reset = now + input.error_reset_ms
    local is_new = now >= errors.reset or reset > errors.reset + 2000
    errors.remaining = is_new and input.error_remaining or math.min(errors.remaining, input.error_remaining)
    errors.reset = is_new and reset or errors.reset
  elseif input.is_error and hold.errors then
    count_error(errors)
  end
  write_errors(errors)
end

local latency = numbers(KEY.turns, 'latency')
redis.call('HSET', KEY.turns, 'latency', latency == 0 and input.latency_ms or latency * 0.9 + input.latency_ms * 0.1)

local lifted = {}
if input.ok then
  local brakes = read_brakes(input.brakes)
  for _, name in ipairs(input.brakes) do
    local brake = brakes[name]
    local kind = string.match(name, '^[^:]+')
    -- A route is only back if it works, and a token is only good if ESI took it.
    local is_over = not (kind == 'route' and input.failing)
      and not ((kind == 'tokens' or kind == 'character') and not input.token_ok)
    if brake and is_over and now >= brake.until_ms then
      lift(name, brake)
      lifted[#lifted + 1] = name
    end
  end
end
if input.works then redis.call('DEL', KEY.failing(input.works)) end

local until_ms = input.brake and set_brake(input.brake)
local failing = input.failing
if failing then
  local key = KEY.failing(failing.route)
  redis.call('ZADD', key, now, failing.character)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - FAILING_MS)
  expire(key, FAILING_MS)
  if redis.call('ZCARD', key) >= failing.characters then until_ms = set_brake(failing.brake) or until_ms end
end
if hold.probed and not until_ms then
  -- A probe that ended without a verdict: the next one need not wait for as long as a request may take.
  local brake = read_brake(hold.probed)
  if brake and brake.probe_until_ms then
    brake.probe_until_ms = now + PROBE_WAIT_MS
    redis.call('HSET', KEY.brakes, hold.probed, cjson.encode(brake))
  end
end
return { 1, until_ms and string.format('%.0f', until_ms) or '', unpack(lifted) }
