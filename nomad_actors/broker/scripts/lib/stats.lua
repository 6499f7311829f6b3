-- Counters of what ended in a queue, one entry a minute; broker/records/stats.py reads them; change both or neither.
-- KEYS: stats, totals
-- ARGV: none
-- Returns: new_tally(), tally_outcome(tally, outcome, actor), tally_duration(buckets, ms), write_tally(tally, now)
-- constants: STATS_MINUTES

-- Counts what ends within one script, to be written once.
local function new_tally()
  return { counts = {}, totals = {}, run_ms = 0, wait_ms = 0, runs = {}, waits = {}, any = false }
end

-- Our encoder puts the actor's name first; any other body is decoded, if it is JSON.
local function actor_of(record)
  local name = string.match(record.body, '^{%s*"actor_name"%s*:%s*"([^"\\]+)"')
  if not name then name = (decoded(record.body) or {}).actor_name end
  return type(name) == 'string' and name ~= '' and #name <= 200 and name or 'unknown'
end

local function tally_outcome(tally, outcome, actor)
  tally.counts[outcome] = (tally.counts[outcome] or 0) + 1
  local total = string.format('%s:%s', outcome, actor)
  tally.totals[total] = (tally.totals[total] or 0) + 1
  tally.any = true
end

-- Two buckets each time the duration doubles: a percentile read from them is off by at most a fifth.
local function tally_duration(buckets, ms)
  local bucket = 0
  if ms >= 1 then bucket = math.min(63, 1 + math.floor(2 * math.log(ms) / math.log(2))) end
  buckets[bucket] = (buckets[bucket] or 0) + 1
end

local write_tally
-- The rest is private: a script has at most 200 local variables.
do
  local OUTCOMES = { completed = 1, skipped = 2, failed = 3, cancelled = 4, retried = 5, deferred = 6, released = 7,
    recovered = 8 }
  local STATS_HEAD = '>I4I4I4I4I4I4I4I4I4dd'

  local function unpack_buckets(value, at, buckets)
    local count
    count, at = struct.unpack('>B', value, at)
    for _ = 1, count do
      local bucket, n
      bucket, n, at = struct.unpack('>BI4', value, at)
      buckets[bucket] = (buckets[bucket] or 0) + n
    end
    return at
  end

  local function pack_buckets(buckets)
    local count, packed = 0, {}
    for bucket, n in pairs(buckets) do
      count = count + 1
      packed[count] = struct.pack('>BI4', bucket, n)
    end
    return struct.pack('>B', count) .. table.concat(packed)
  end

  -- How many runs of each actor have ended so far, by outcome; broker/records/stats.py reads it. Actors beyond
  -- a hundred, with eight outcomes each, share one name. A value that somebody made unreadable in Redis is restarted.
  local MAX_TOTALS = 800
  local function write_totals(totals)
    for field, n in pairs(totals) do
      local total = redis.pcall('HINCRBY', KEY.totals, field, n)
      if type(total) == 'table' then
        redis.pcall('HSET', KEY.totals, field, n)
      elseif total == n and redis.call('HLEN', KEY.totals) > MAX_TOTALS then
        redis.call('HDEL', KEY.totals, field)
        redis.pcall('HINCRBY', KEY.totals, string.match(field, '^%a+:') .. 'unknown', n)
      end
    end
  end

  function write_tally(tally, now)
    if not tally.any then return end
    write_totals(tally.totals)
    local minute = math.floor(now / 60000)
    local slot = tostring(minute % STATS_MINUTES)
    local kept = redis.call('HGET', KEY.stats, slot)
    local n = { 0, 0, 0, 0, 0, 0, 0, 0 }
    local run_ms, wait_ms = tally.run_ms, tally.wait_ms
    -- An entry that somebody made unreadable in Redis is restarted.
    pcall(function()
      if not kept or struct.unpack('>I4', kept) ~= minute then return end
      local _, more_run, more_wait, at
      _, n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], more_run, more_wait, at = struct.unpack(STATS_HEAD, kept)
      run_ms, wait_ms = run_ms + more_run, wait_ms + more_wait
      at = unpack_buckets(kept, at, tally.runs)
      unpack_buckets(kept, at, tally.waits)
    end)
    for outcome, more in pairs(tally.counts) do n[OUTCOMES[outcome]] = n[OUTCOMES[outcome]] + more end
    redis.call('HSET', KEY.stats, slot,
      struct.pack(STATS_HEAD, minute, n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], run_ms, wait_ms)
        .. pack_buckets(tally.runs) .. pack_buckets(tally.waits))
  end
end
