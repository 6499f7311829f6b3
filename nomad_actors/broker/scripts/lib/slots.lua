-- Schedules and their slots. A slot is one due instant of a schedule; the id of its job names both, so that whatever
-- ends the job finds the slot: 'schedule:NAME:DUE'.
local SLOTS_KEPT, OPEN_SLOTS_KEPT = 50, 200

-- The calendar's clock, told as 'REAL AT SPEED': at Redis' time REAL it stood at AT. '' is Redis' own time.
local function clock_ms(told, real)
  local since, at, speed = string.match(told, '^(%S+) (%S+) (%S+)$')
  if not since then return real end
  return tonumber(at) + (real - tonumber(since)) * tonumber(speed)
end

local function slot_id(name, due)
  return string.format('schedule:%s:%.0f', name, due)
end

-- A full Redis may refuse what is only told: the job's own state does not depend on it.
local function tell_slot(name, due, slot)
  redis.pcall('HSET', KEY.slots(name), string.format('%.0f', due), cjson.encode(slot))
end

-- Writes the end of a slot's job into its slot; for any other job it is one comparison.
local function end_slot(id, now, outcome, started)
  if string.sub(id, 1, 9) ~= 'schedule:' then return end
  local name, due = string.match(id, '^schedule:([^:]+):(%d+)$')
  local told = name and redis.call('HGET', KEY.slots(name), due)
  local slot = told and decoded(told)
  if not slot then return end
  slot.started = started > 0 and math.floor(started) or nil
  slot.ended, slot.outcome = math.floor(now), outcome
  tell_slot(name, tonumber(due), slot)
  if outcome == 'completed' or outcome == 'skipped' then
    redis.pcall('HSET', KEY.slots(name), 'last_success', math.floor(now))
  end
end
