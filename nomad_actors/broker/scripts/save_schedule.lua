-- include: record queue clock slots
-- Adds, changes or removes a schedule, if it has not changed since the caller read it.
-- KEYS: 1 the queue's base
-- ARGV: 1 name, 2 the version that the caller read (0 for none, -1 for one that it
--       cannot read), 3 the record as JSON ('' removes it),
--       4 'now' to start afresh (earlier slots are dropped), a time in ms to continue from it, or '' to continue,
--       5 the clock's offset and speed
-- Returns: ok or changed, then the stored record ('' for none)
-- Closes: two operators, or a deployment and an operator, who change a schedule at the same time. A repeated call finds its
--         own record and returns ok.
local name, seen, text, from = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local stored = redis.call('HGET', KEY.schedules, name)
local old = seen >= 0 and stored and decoded(stored) or nil
if old and (type(old.version) ~= 'number' or type(old.watermark) ~= 'number') then old = nil end
if text == '' then
  if old and old.version ~= seen then return { 'changed', stored } end
  redis.call('HDEL', KEY.schedules, name)
  redis.call('DEL', KEY.slots(name))
  return { 'ok', '' }
end
local new = cjson.decode(text)
if old and old.change == new.change then return { 'ok', stored } end
if (old and old.version or math.min(0, seen)) ~= seen then return { 'changed', stored or '' } end
-- A version is never reused, even by a schedule that was removed and added again.
new.version = old and seen + 1 or math.floor(raw_ms())
new.watermark, new.missed, new.last_job, new.init = old and old.watermark, old and tonumber(old.missed) or 0, nil, 0
if old then new.last_job, new.init = old.last_job, old.init end
if tonumber(from) then
  new.watermark = tonumber(from)
elseif from == 'now' or not new.watermark then
  new.watermark = math.floor(clock_ms(ARGV[5], raw_ms()))
end
local record = cjson.encode(new)
redis.call('HSET', KEY.schedules, name, record)
return { 'ok', record }
