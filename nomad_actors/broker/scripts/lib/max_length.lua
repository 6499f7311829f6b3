-- The maximum number of a queue's jobs that have not begun.
-- KEYS: meta, waiting, delayed, bulks, bulk
-- ARGV: none; refuse(first, count) reads the jobs that begin at ARGV[first]
-- Returns: too_many(count) → {'full', limit} or nil, refuse(first, count) → {'full', limit}, {'asked', id} or nil

-- Why `count` more jobs may not be added; nil if they may.
local function too_many(count)
  local most = tonumber(redis.call('HGET', KEY.meta, 'max_length') or nil)
  if not most or count == 0 then return nil end
  local length = redis.call('ZCARD', KEY.waiting) + redis.call('ZCARD', KEY.delayed)
  -- Committed jobs that are not added yet count too.
  for _, id in ipairs(redis.call('LRANGE', KEY.bulks, 0, -1)) do
    length = length + (tonumber(redis.call('HGET', KEY.bulk(id), 'left') or nil) or 0)
  end
  if length + count > most then return { 'full', most } end
  return nil
end

-- True if adding a job makes the queue longer: not if another job stays, is replaced, or comes before it.
local function adds_one(id, call, extra)
  local known = unpack_record(redis.call('HGET', KEY.jobs, id))
  if known and known.call == call then return false end
  local state = state_of(id)
  if state == 'waiting' or state == 'delayed' or state == 'active' then return false end
  return blocker_of(id, extra.tags) == nil
end

-- Why a call that adds jobs is refused, decided before its first write.
local function refuse(first, count)
  local limited, new = redis.call('HEXISTS', KEY.meta, 'max_length') == 1, 0
  for at = first, first + JOB_FIELDS * (count - 1), JOB_FIELDS do
    local id, call, _, _, _, _, packed = unpack(ARGV, at, at + JOB_FIELDS - 1)
    local extra = unpack_extra(packed)
    local before, other
    if extra.idempotency ~= '' then before, other = used_before(extra.idempotency) end
    if other then return { 'asked', before } end
    if limited and not before and adds_one(id, call, extra) then new = new + 1 end
  end
  return too_many(new)
end
