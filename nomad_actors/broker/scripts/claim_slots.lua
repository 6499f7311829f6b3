-- include: record queue clock limits tags slots next add stats end
-- Claims slots of a schedule: adds the job of each, or records with the reason that it was missed. The same step checks
-- that the schedule is enabled, its version and its watermark, so that any number of schedulers adds one job per slot.
-- KEYS: 1 the queue's base
-- ARGV: 1 name, 2 version, 3 kind (due, init or manual), 4 overlap (skip, queue or replace; '' checks nothing),
--       5 the clock's offset and speed, 6 to 11 the job: call (8 bytes), priority, created (ms), body, extra (lib/next.lua), who
--       requested it; 12 how many other slots were missed, then 2 a slot: due (ms), why it was missed ('' adds its job)
-- Returns: a word (ok, stopped, changed, gone, early), now by the clock (ms), then 2 a slot: due, and added, missed or
--          claimed (by an earlier call)
-- Closes: a second scheduler; one that was frozen while the schedule changed or stopped; one whose clock is ahead.
local FIRST_SLOT = 13
local name, version, kind, overlap, clock_text, call, priority, created, body, extra, requested_by, more_missed =
  unpack(ARGV, 1, FIRST_SLOT - 1)
version = tonumber(version)
-- The calendar uses TIME; the job's own times use the queue's clock.
local real = now_ms()
local now = math.floor(clock_ms(clock_text, raw_ms()))
local now_text = string.format('%.0f', now)
local stored = redis.call('HGET', KEY.schedules, name)
local record = stored and decoded(stored)
if not record or type(record.watermark) ~= 'number' then return { 'gone', now_text } end
record.missed = tonumber(record.missed or nil) or 0
if kind ~= 'manual' then
  if record.version ~= version then return { 'changed', now_text } end
  if not record.enabled then return { 'stopped', now_text } end
end
if kind == 'due' and #ARGV >= FIRST_SLOT and tonumber(ARGV[#ARGV - 1]) > now + 1000 then return { 'early', now_text } end

local reply, must_wake, wrote = { 'ok', now_text }, false, false
local slots = KEY.slots(name)

-- The previous job of the schedule, if it is still waiting, delayed or active.
local function unfinished_run()
  local id = record.last_job
  local state = id and state_of(id)
  if state == 'waiting' or state == 'delayed' or state == 'active' then return id, state end
end

-- Adds the job of one slot; returns why it could not.
local function fill(due)
  local previous, state = unfinished_run()
  if previous and overlap == 'skip' then return 'the previous run is still ' .. state end
  local replaces = previous and overlap == 'replace' and state ~= 'active'
  -- A job that replaces another does not make the queue longer.
  local full = too_many(replaces and 0 or 1)
  if full then return 'the queue is full: at most ' .. full[2] .. ' may wait' end
  local id = slot_id(name, due)
  local state_now, _, other = add(real, id, call, priority, 0, created, body, extra)
  if other ~= '' then return 'another job with its unique key is ' .. state_now end
  must_wake = must_wake or state_now == 'waiting'
  record.last_job = id
  if replaces and previous ~= id then take_away(previous, state, now) end
  return nil
end

local function claim(due, missed)
  local word = 'added'
  if missed == '' then missed = fill(due) end
  local slot = { due = due, added = now, kind = kind ~= 'due' and kind or nil, by = requested_by ~= '' and requested_by or nil }
  if missed then
    slot.added, slot.missed, word = nil, missed, 'missed'
    record.missed = record.missed + 1
  end
  write_slot(name, due, slot)
  return word
end

for i = FIRST_SLOT, #ARGV, 2 do
  local due, missed = tonumber(ARGV[i]), ARGV[i + 1]
  local word = 'claimed'
  if kind == 'due' then
    if due > record.watermark then
      word = claim(due, missed)
      record.watermark, wrote = due, true
    end
  elseif kind == 'init' then
    if record.init ~= version then
      record.init, wrote = version, true
      word = claim(due, missed)
    end
  else
    local slot = redis.call('HGET', slots, string.format('%.0f', due))
    if not slot then
      word, wrote = claim(due, missed), true
    elseif (decoded(slot) or {}).missed then
      word = 'missed'
    end
  end
  append(reply, string.format('%.0f', due), word)
end
if wrote then
  record.missed = record.missed + tonumber(more_missed)
  redis.call('HSET', KEY.schedules, name, cjson.encode(record))
  if redis.call('HLEN', slots) > SLOTS_KEPT + 10 then
    -- A slot whose job has not ended is kept longer, because it shows that the schedule is overdue.
    local closed, open = {}, {}
    local all = redis.call('HGETALL', slots)
    for i = 1, #all, 2 do
      if tonumber(all[i]) then
        local slot = decoded(all[i + 1]) or { missed = '', due = tonumber(all[i]) }
        local list = (slot.missed or slot.outcome) and closed or open
        list[#list + 1] = slot.due
      end
    end
    local function drop_oldest(dues, excess)
      table.sort(dues)
      for i = 1, math.min(#dues, excess) do redis.call('HDEL', slots, string.format('%.0f', dues[i])) end
    end
    drop_oldest(closed, #closed + #open - SLOTS_KEPT)
    drop_oldest(open, #open - OPEN_SLOTS_KEPT)
  end
end
if must_wake and not is_paused(real) then wake() end
return reply
