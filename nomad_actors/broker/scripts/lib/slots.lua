-- Schedules and their slots. A slot is one due instant of a schedule; the id of its job names both ('schedule:NAME:DUE'), so
-- that every script that ends the job finds the slot.
-- KEYS: slots
-- ARGV: none
-- Returns: clock_ms(text, real) → the calendar's time, slot_id(name, due), write_slot(name, due, slot),
--          end_slot(id, now, outcome, started)
local SLOTS_KEPT, OPEN_SLOTS_KEPT = 50, 200

-- The calendar's clock, written as 'REAL AT SPEED': at Redis' time REAL it was at AT. '' is Redis' own time.
local function clock_ms(clock_text, real)
  local since, at, speed = string.match(clock_text, '^(%S+) (%S+) (%S+)$')
  if not since then return real end
  return tonumber(at) + (real - tonumber(since)) * tonumber(speed)
end

local function slot_id(name, due)
  return string.format('schedule:%s:%.0f', name, due)
end

-- A full Redis may refuse a slot's fields; the job's own state does not depend on them.
local function write_slot(name, due, slot)
  redis.pcall('HSET', KEY.slots(name), string.format('%.0f', due), cjson.encode(slot))
end

-- Writes the end of a slot's job into the slot; for any other job this is only one comparison.
local function end_slot(id, now, outcome, started)
  if string.sub(id, 1, 9) ~= 'schedule:' then return end
  local name, due = string.match(id, '^schedule:([^:]+):(%d+)$')
  local stored = name and redis.call('HGET', KEY.slots(name), due)
  local slot = stored and decoded(stored)
  if not slot then return end
  slot.started = started > 0 and math.floor(started) or nil
  slot.ended, slot.outcome = math.floor(now), outcome
  write_slot(name, tonumber(due), slot)
  if outcome == 'completed' or outcome == 'skipped' then
    redis.pcall('HSET', KEY.slots(name), 'last_success', math.floor(now))
  end
end
