-- The queue's clock: Redis' TIME without the steps by which somebody set it. Scripts have no clock that cannot be set, but
-- workers do. With its calls each worker sends how much time has passed for it since it last read TIME (its evidence), and
-- only a time that agrees with that is confirmed. The guarantees are in docs/guarantees.md; broker/redis_clock.py is the
-- workers' half; change both or neither.
-- KEYS: workers, unsure, delayed, jobs
-- ARGV: none
-- Returns: raw_ms() TIME; now_ms() the queue's time; seen_ms(evidence) → time, is sure; judge_clock(evidence, alone,
--          patience) → the same for a heartbeat; rectify_unsure() → true if more is left; pack_tick(); add_delayed(id, due)
--
-- Field `tick` of workers, which each heartbeat reads and writes anyway: the last tick and the last trimming (ms) d d; and
-- the clock: what is subtracted from TIME (ms) d · until when it is confirmed (ms) d · how often it was corrected I4 · by how
-- much jobs in unsure are due too late (ms) d · 1 if unsure may have jobs B.
-- constants: TICK CLOCK_TOLERANCE_MS
local clock, read_clock, raw_ms, now_ms, seen_ms, judge_clock, rectify_unsure, pack_tick, add_delayed
-- The rest is private: a script has at most 200 local variables.
do
local TICK_SIZE, CLOCK_FORMAT, CLOCK_SIZE = 16, '>ddI4dB', 29
-- Heartbeats are more frequent. A longer time without one is a gap, or a step that no worker has noticed yet.
local GAP_MS = 20000
-- A lasting step is undone by this share of the passing time.
local SLEW = 0.01
local RECTIFY_AT_ONCE = 500

function raw_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
end

local function is_time(ms)
  return ms == ms and ms > -1e15 and ms < 1e15
end

-- Reads the clock once per script; `text` is the field if the script has read it already. `confirmed` is nil before any
-- worker's evidence, and if the field cannot be read.
function read_clock(text)
  if clock then return clock end
  clock = { raw = raw_ms(), last_tick = 0, last_trim = 0, offset = 0, version = 0, late = 0, marked = 0 }
  text = text or redis.call('HGET', KEY.workers, TICK) or ''
  if #text >= TICK_SIZE then clock.last_tick, clock.last_trim = struct.unpack('>dd', text) end
  if #text == TICK_SIZE + CLOCK_SIZE then
    local offset, confirmed, version, late, marked = struct.unpack(CLOCK_FORMAT, text, TICK_SIZE + 1)
    if is_time(offset) and is_time(confirmed) and is_time(late) then
      clock.offset, clock.confirmed, clock.version, clock.late = offset, confirmed, version, late
      clock.marked = marked
    end
  end
  clock.now = math.max(clock.raw - clock.offset, clock.confirmed or 0)
  clock.unsure = clock.confirmed and clock.now - clock.confirmed > GAP_MS or false
  return clock
end

-- The time for callers without evidence: it never goes back, and may be ahead until a worker sends a heartbeat.
function now_ms()
  return read_clock().now
end

-- Evidence is 'VERSION RAW PASSED CERTAIN': PASSED ms ago by the worker's clock, TIME was RAW and the clock had that version;
-- CERTAIN is 1 if TIME has moved by more than can have passed. Returns how much further than the evidence TIME has moved (nil
-- without evidence), how much has passed, whether the reading was at a confirmed time, and whether it is certain.
local function compare(evidence)
  local version, since, passed, certain = string.match(evidence or '', '^(%d+) (%S+) (%S+) ([01])$')
  since, passed = tonumber(since), tonumber(passed)
  if not passed or not clock.confirmed or tonumber(version) ~= clock.version then return nil end
  local chained = since - clock.offset <= clock.confirmed + GAP_MS
  return clock.raw - since - passed, passed, chained, certain == '1', since - clock.offset
end

-- The time for a worker with its evidence, and true if it is sure enough to start due jobs. If the evidence contradicts the
-- time, the last confirmed time is used instead.
function seen_ms(evidence)
  read_clock()
  local jump, _, chained = compare(evidence)
  if jump and math.abs(jump) > CLOCK_TOLERANCE_MS then
    clock.now, clock.unsure = clock.confirmed, false
    return clock.now, false
  end
  return clock.now, not clock.unsure or (jump and chained) or false
end

-- The new value of the field `tick`.
function pack_tick()
  local text = struct.pack('>dd', clock.last_tick, clock.last_trim)
  if not clock.confirmed then return text end
  return text .. struct.pack(CLOCK_FORMAT, clock.offset, clock.confirmed, clock.version, clock.late, clock.marked)
end

local function forget_unsure()
  redis.call('UNLINK', KEY.unsure)
  clock.marked = 0
end

local function confirm()
  local now = clock.raw - clock.offset
  if clock.offset ~= 0 and clock.confirmed then
    local most = math.max(0, now - clock.confirmed) * SLEW
    clock.offset = clock.offset > 0 and math.max(0, clock.offset - most) or math.min(0, clock.offset + most)
  end
  clock.confirmed = math.max(clock.raw - clock.offset, clock.confirmed or 0)
  if clock.marked == 1 and clock.late == 0 then forget_unsure() end
end

-- Corrects the clock to `now`, whatever TIME is.
local function set_right(now)
  local before = clock.raw - clock.offset
  clock.set_by = before - now
  clock.offset, clock.confirmed = clock.raw - now, now
  clock.version = (clock.version + 1) % 4294967296
  -- Jobs that were delayed while TIME was ahead are due too late by as much.
  clock.late = before > now and clock.marked == 1 and before - now or 0
end

-- Judges the clock by a worker's evidence: 'confirm', 'set' (with the right time), 'doubt' (TIME moved further than the
-- evidence, perhaps while the call was in transit) or 'wait' (for a worker with better evidence). `alone`: there is no other
-- worker; `patience`: how long to wait (ms).
local function judge(evidence, alone, patience)
  local jump, passed, chained, certain, since = compare(evidence)
  if not clock.confirmed then return 'confirm' end
  if jump and jump > CLOCK_TOLERANCE_MS then
    if not certain then return 'doubt' end
    -- If more time has passed for others, this worker's clock had stopped.
    if clock.confirmed > since + passed + CLOCK_TOLERANCE_MS then return 'confirm' end
    return 'set', math.max(since + passed, clock.confirmed)
  end
  local waited = alone or (jump and passed >= patience)
  if clock.raw - clock.offset < clock.confirmed - CLOCK_TOLERANCE_MS then
    if jump and jump < -CLOCK_TOLERANCE_MS then return 'set', math.max(since + passed, clock.confirmed) end
    if waited then return 'set', clock.confirmed end
    return 'wait'
  end
  if waited or not clock.unsure or (jump and chained) then return 'confirm' end
  return 'wait'
end

-- For a heartbeat: confirms the clock, corrects it or leaves it in doubt; the heartbeat writes it. Returns as `seen_ms`.
function judge_clock(evidence, alone, patience)
  read_clock()
  local word, right = judge(evidence, alone, patience)
  if word == 'confirm' then
    if not clock.confirmed then clock.version = math.floor(clock.raw / 1000) % 4294967296 end
    confirm()
  elseif word == 'set' then
    set_right(right)
  elseif word == 'doubt' then
    clock.now, clock.unsure = clock.confirmed, false
    return clock.now, false
  else
    return clock.now, false
  end
  clock.now, clock.unsure = math.max(clock.raw - clock.offset, clock.confirmed), false
  return clock.now, true
end

-- Corrects the due times of jobs that were delayed while TIME was ahead, step by step; returns true if more are left.
function rectify_unsure()
  if clock.late == 0 then return false end
  local found = redis.call('ZRANGE', KEY.unsure, 0, RECTIFY_AT_ONCE - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    local id, due = found[i], tonumber(found[i + 1])
    if tonumber(redis.call('ZSCORE', KEY.delayed, id) or nil) == due then
      local record = unpack_record(redis.call('HGET', KEY.jobs, id))
      redis.call('ZADD', KEY.delayed, due - clock.late, id)
      if record then
        record.ready = due - clock.late
        redis.call('HSET', KEY.jobs, id, pack_record(record))
      end
    end
    redis.call('ZREM', KEY.unsure, id)
  end
  if #found == 2 * RECTIFY_AT_ONCE then return true end
  clock.late, clock.marked = 0, 0
  return false
end

-- A worker's waiter must be woken for a job that is due before all others.
function add_delayed(id, due)
  redis.call('ZADD', KEY.delayed, due, id)
  if read_clock().unsure then
    redis.call('ZADD', KEY.unsure, due, id)
    if clock.marked == 0 then
      clock.marked = 1
      redis.pcall('HSET', KEY.workers, TICK, pack_tick())
    end
  end
  local first = redis.call('ZRANGE', KEY.delayed, 0, 0)
  if first[1] == id then wake() end
end
end
