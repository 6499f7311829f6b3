-- Adds one job, or finds the one that is there instead, or refuses it. A full Redis refuses the first write here.
-- KEYS: jobs, next, idempotency, meta, waiting, delayed, bulks, bulk and those of the includes
-- ARGV: add_from(now, at) and refuse(at, count) read JOB_FIELDS a job from ARGV[at] on: id, call (8 bytes), priority,
--       delay (ms), created (ms), body, extra (unpack_extra); `PackedJob.arguments` sends them in this order
-- Returns: add, add_from → the job's state afterwards, 1 if this call put it there, the id of the job that is there
--          instead (''); too_many(count) → {'full', limit} or nil; refuse(at, count) → the same or {'asked', id}
--
-- A known id does not make a second job: a repeated call gets the same reply; a waiting or delayed job stays as it is; after
-- an active job the new one begins, unless another will; an ended job starts afresh. If another job has its unique key, that
-- job stays, or is replaced if it has not begun, or the new one begins after it.
local JOB_FIELDS = 7
local IDEMPOTENCY_MS = 86400000

local function holder_of(tags)
  local mode, key = unique_of(tags)
  if mode == 0 then return nil end
  if mode == FOR_A_TIME then return redis.call('GET', KEY.unique_for_a_time(hex(key))) or nil, mode end
  return redis.call('HGET', KEY.unique, key) or nil, mode
end

-- The job that has the unique key of these tags: its id, its state, whether it has begun; nil if there is none.
local function blocker_of(id, tags)
  local holder, mode = holder_of(tags)
  if not holder or holder == id then return nil end
  local state = state_of(holder)
  local begun = state ~= 'waiting' and state ~= 'delayed'
  if mode == UNTIL_START and begun then return nil end
  if mode == UNTIL_END and begun and state ~= 'active' then return nil end
  return holder, state or 'gone', begun
end

-- The job for which an idempotency key was used before, and true if that was another request; nil if it was not used.
local function used_before(idempotency)
  local stored = redis.call('GET', KEY.idempotency(hex(string.sub(idempotency, 1, 16))))
  if not stored then return nil end
  return string.sub(stored, 9), string.sub(stored, 1, 8) ~= string.sub(idempotency, 17)
end

-- Removes a job that has not begun, because another replaces it.
local function take_away(id, state, now)
  redis.call('ZREM', INDEX[state], id)
  drop({ id })
  end_slot(id, now, 'replaced', 0)
end

local function put(now, id, call, priority, delay, created, body, packed, extra)
  local value = redis.call('HGET', KEY.jobs, id)
  local known = unpack_record(value)
  local state = value and state_of(id)
  if state == 'waiting' or state == 'delayed' or (known and state and known.call == call) then return state, 0, '' end
  local holder, holder_state, begun = blocker_of(id, extra.tags)
  if holder and (not extra.replace or (begun and holder_state ~= 'active')) then return holder_state, 0, holder end
  if holder and begun then
    put_next(holder, call, priority, delay, created, body, packed)
    return 'active', 1, holder
  end
  if state == 'active' then
    local ahead = redis.call('HGET', KEY.next, id)
    if ahead and not extra.replace then
      return 'active', string.sub(ahead, NEXT_CALL_AT, NEXT_CALL_AT + 7) == call and 1 or 0, ''
    end
    put_next(id, call, priority, delay, created, body, packed)
    if holder then
      take_away(holder, holder_state, now)
      hold_ahead(extra.tags, id, extra.ttl)
    end
    return 'active', 1, ''
  end
  local record = {
    priority = priority, attempts = 0, crashes = 0, flags = 0, created = created, ready = now + delay, started = 0,
    finished = 0, call = call, token = NO_TOKEN, body = body, story = known and known.story or '', tags = extra.tags,
  }
  if known then append_events(record, event(ENQUEUED, now, '')) end
  redis.call('HSET', KEY.jobs, id, pack_record(record))
  if known then
    unindex_terms(known, id)
    release_unique(known.tags, id)
  end
  if state then
    redis.call('ZREM', INDEX[state], id)
    redis.call('HDEL', KEY.notes, id)
    redis.call('ZREM', KEY.cancelled, id)
  end
  if holder then take_away(holder, holder_state, now) end
  index_terms(record, id)
  hold_unique(extra.tags, id, extra.ttl)
  if delay > 0 then
    add_delayed(id, record.ready)
    return 'delayed', 1, ''
  end
  append_waiting(id, priority)
  return 'waiting', 1, ''
end

local function add(now, id, call, priority, delay, created, body, packed)
  priority, delay, created = tonumber(priority), tonumber(delay), tonumber(created)
  local extra = unpack_extra(packed)
  if extra.idempotency ~= '' then
    local job = used_before(extra.idempotency)
    if job then return state_of(job) or 'gone', 0, job ~= id and job or '' end
  end
  local state, new, other = put(now, id, call, priority, delay, created, body, packed, extra)
  if extra.idempotency ~= '' then
    redis.call('SET', KEY.idempotency(hex(string.sub(extra.idempotency, 1, 16))),
      string.sub(extra.idempotency, 17) .. (other ~= '' and other or id), 'PX', IDEMPOTENCY_MS)
  end
  return state, new, other
end

local function add_from(now, at)
  return add(now, unpack(ARGV, at, at + JOB_FIELDS - 1))
end

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
