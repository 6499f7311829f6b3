-- include: record queue clock limits tags slots next add bulk worker stats end
-- A worker's heartbeat, which names the jobs that it holds; and the reaper's tick, which recovers the jobs of lost workers
-- (active → waiting or failed) and applies the retention.
-- KEYS: 1 the queue's base
-- ARGV: 1 worker id, 2 its name, 3 the last request that was answered, 4 lease (ms), 5 its evidence of the clock
--       (lib/clock.lua), then 2 a held job: id, token; or
--       1 worker id, 2 its name, 3 'leave' if it stops
-- Returns: now (ms), when to request jobs again (ms or ''), how many wait, how many run, the held ids that this worker has
--          lost, the held ids to cancel, 3 a recovered job: id, outcome, record without its story; 1 if the next heartbeat
--          has more to do, for a bulk whose caller was lost or for delayed jobs; and the clock: its version, TIME (ms), 1 if
--          it is sure, by how much it was corrected now (ms)
-- Closes: a worker that looks lost because Redis was away, the host slept or the clock stepped. Silence is summed up over
--         consecutive ticks; a tick after a gap restarts the sum.
local RECOVER_AT_ONCE = 200
local TRIM_AT_ONCE = 500
local worker, name = ARGV[1], ARGV[2]
if ARGV[3] == 'leave' then
  redis.call('HDEL', KEY.workers, worker)
  return {}
end
local answered, lease_ms = tonumber(ARGV[3]), tonumber(ARGV[4])
local marks, tick_text = {}, ''
local all = redis.call('HGETALL', KEY.workers)
for i = 1, #all, 2 do
  if all[i] == TICK then
    tick_text = all[i + 1]
  else
    marks[all[i]] = unpack_mark(all[i + 1])
  end
end
-- Heartbeats and ticks use TIME as it is, and the rule for gaps.
local raw = read_clock(tick_text).raw
local last_tick, last_trim = clock.last_tick, clock.last_trim
local own = marks[worker] or { request = answered }
own.heard, own.missed, own.name = raw, 0, name
if is_ahead(answered, own.request) then own.request = answered end
marks[worker] = own
local alone = true
for id, mark in pairs(marks) do alone = alone and (id == worker or mark.missed >= lease_ms) end
local now, sure = judge_clock(ARGV[5], alone, lease_ms)
local fields = { worker, pack_mark(own) }
local function write_mark(id) append(fields, id, pack_mark(marks[id])) end

-- Every process ticks, but no more often than needed.
local since = raw - last_tick
local ticks = since < 0 or since >= lease_ms / 8
local regular = since >= 0 and since <= lease_ms * 2 / 3
if ticks then
  for id, mark in pairs(marks) do
    if id ~= worker and (mark.missed < lease_ms or not regular) then
      if not regular then
        mark.missed = 0
      elseif mark.heard >= last_tick and mark.heard <= raw then
        mark.missed = math.max(0, raw - mark.heard)
      else
        -- Also if its heartbeat is in the future, because TIME was ahead then.
        mark.missed = mark.missed + since
      end
      write_mark(id)
    end
  end
end

local leases = {}
local running = redis.call('HLEN', KEY.active)
if running > 0 then
  local held = redis.call('HGETALL', KEY.active)
  for i = 1, #held, 2 do
    local token, started, score, cancel = unpack_lease(held[i + 1])
    leases[held[i]] = { token = token, started = started, score = score, cancel = cancel }
  end
end

local lost, cancelled, named = {}, {}, {}
for i = 6, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  named[token] = true
  local lease = leases[id]
  if not lease or lease.token ~= token then
    lost[#lost + 1] = id
    take_back_crash(id, token, now)
  elseif lease.cancel ~= '' then
    cancelled[#cancelled + 1] = id
  end
end

-- A live worker that does not name a lease never received it; this does not count as a crash.
local function fate_of(lease)
  local holder = string.sub(lease.token, 1, 8)
  if holder == worker then
    local request = struct.unpack('>I4', lease.token, 9)
    return not named[lease.token] and not is_ahead(request, answered) and 'unheard' or nil
  end
  local mark = marks[holder]
  if not mark then
    -- An unknown worker: it gets the time of a lease to send a heartbeat.
    marks[holder] = { heard = raw, request = 0, missed = 0, name = '?' }
    write_mark(holder)
    return nil
  end
  return ticks and mark.missed >= lease_ms and 'gone' or nil
end

local LOST = 'lost its worker ' .. MAX_CRASHES .. ' times'
-- The failure group of jobs that lost their workers, one for each job type.
local function failure_group_of_lost(record)
  local body = decoded(record.body)
  local name = body and type(body.actor_name) == 'string' and body.actor_name or ''
  local words = { jobType = name, errorClass = 'WorkerLost', message = LOST, frame = '' }
  return string.sub(redis.sha1hex(LOST .. name), 1, 8) .. cjson.encode(words)
end

local tally, recovered, poisonous, must_wake = new_tally(), {}, 0, false
local function recover(id, lease, fate)
  local record = record_of(id, lease.score, now)
  local holder = marks[string.sub(lease.token, 1, 8)]
  -- Read the actor now: finishing may replace the record with the job that follows it.
  local outcome, actor = 'recovered', actor_of(record)
  record.started = lease.started
  redis.call('HDEL', KEY.active, id)
  append_events(record, event(STARTED, lease.started, holder.name) .. event(RECOVERED, now, lease.token .. fate))
  if fate == 'gone' then record.crashes = math.min(MAX_CRASHES_KEPT, record.crashes + 1) end
  tally_outcome(tally, 'recovered', actor)
  if lease.cancel ~= '' then
    outcome = 'cancelled'
    must_wake = finish_cancelled(record, id, now, lease.cancel) or must_wake
  elseif record.crashes >= MAX_CRASHES and fate == 'gone' then
    outcome = 'failed'
    poisonous = poisonous + 1
    must_wake = finish(record, id, now, KEY.failed, FAILED, LOST, failure_group_of_lost(record)) or must_wake
  else
    redis.call('ZADD', KEY.waiting, lease.score, id)
    must_wake = true
  end
  if outcome ~= 'recovered' then tally_outcome(tally, outcome, actor) end
  local packed = pack_record(record)
  redis.call('HSET', KEY.jobs, id, packed)
  append(recovered, id, outcome, string.sub(packed, 1, #packed - #record.story))
end

local orphans = {}
for id, lease in pairs(leases) do
  lease.id, lease.fate = id, fate_of(lease)
  if lease.fate then orphans[#orphans + 1] = lease end
end
-- Recover in the order of starting.
table.sort(orphans, function(a, b) return a.score < b.score end)
for i = 1, math.min(#orphans, RECOVER_AT_ONCE) do
  recover(orphans[i].id, orphans[i], orphans[i].fate)
end
if #recovered > 0 then
  redis.call('HINCRBY', KEY.meta, 'recovered', #recovered / 3)
  if poisonous > 0 then redis.call('HINCRBY', KEY.meta, 'poison', poisonous) end
  write_tally(tally, now)
  if must_wake and not is_paused(now) then wake() end
end

if ticks then
  -- Retention is in days: once a minute is often enough, and keeps idle workers cheap.
  if sure and (raw < last_trim or raw - last_trim >= 60000) then
    local completed, completed_ms, failed, failed_ms = read_retention(redis.call('HGET', KEY.meta, 'keep'))
    trim_age(KEY.completed, now - completed_ms, TRIM_AT_ONCE)
    trim_age(KEY.failed, now - failed_ms, TRIM_AT_ONCE)
    trim_count(KEY.completed, completed, TRIM_AT_ONCE)
    trim_count(KEY.failed, failed, TRIM_AT_ONCE)
    clock.last_trim = raw
  end
  clock.last_tick = raw
end
local sure_now = sure and now or clock.confirmed
local more = rectify_unsure()
append(fields, TICK, pack_tick())
-- A full Redis refuses a script's first write if it needs memory, but accepts it after a write that frees memory.
redis.call('HDEL', KEY.workers, '')
redis.call('HSET', KEY.workers, unpack(fields))

more = continue_bulk(now) or more
local ask_at, waiting = next_start(sure_now)
return {
  string.format('%.3f', now), ask_later(ask_at, sure_now, now, sure), waiting, running, lost, cancelled, recovered,
  more and 1 or 0, string.format('%.0f %.3f %d %.0f', clock.version, raw, sure and 1 or 0, clock.set_by or 0),
}
