-- Adds one job, or finds the one that stands. The caller has read nothing of it; the first write here is refused by a
-- full Redis. Returns the state that the job is in afterwards, whether this call put it there, and the id of the job that
-- stands in its place ('' for none).
--
-- A known id is not a second job: the same call repeated gets the same answer; one that waits or is delayed stands as
-- it is; after one that runs the new one begins, unless another is to do that; one that ended starts afresh. A unique key
-- that another job holds: that job stands, or is replaced while it has not begun, or the new one begins after it.
local ASKED_MS = 86400000

local function holder_of(tags)
  local mode, key = unique_of(tags)
  if mode == 0 then return nil end
  if mode == FOR_A_TIME then return redis.call('GET', KEY.unique_for_a_time(hex(key))) or nil, mode end
  return redis.call('HGET', KEY.unique, key) or nil, mode
end

-- Who stands in the way of a new job with these tags, in which state; nil when nobody does.
local function standing(id, tags)
  local holder, mode = holder_of(tags)
  if not holder or holder == id then return nil end
  local state = state_of(holder)
  local begun = state ~= 'waiting' and state ~= 'delayed'
  if mode == UNTIL_START and begun then return nil end
  if mode == UNTIL_END and begun and state ~= 'active' then return nil end
  return holder, state or 'gone', begun
end

-- What a caller's own key was used for before: the job's id, and whether that was something else.
local function asked_before(asked)
  local told = redis.call('GET', KEY.idempotency(hex(string.sub(asked, 1, 16))))
  if not told then return nil end
  return string.sub(told, 9), string.sub(told, 1, 8) ~= string.sub(asked, 17)
end

-- Takes a job away that has not begun: another takes its place.
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
  local holder, holder_state, begun = standing(id, extra.tags)
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
  if known then tell(record, event(ENQUEUED, now, '')) end
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
  local extra = unpack_extra(packed)
  if extra.asked ~= '' then
    local job = asked_before(extra.asked)
    if job then return state_of(job) or 'gone', 0, job ~= id and job or '' end
  end
  local state, new, stands = put(now, id, call, priority, delay, created, body, packed, extra)
  if extra.asked ~= '' then
    redis.call('SET', KEY.idempotency(hex(string.sub(extra.asked, 1, 16))),
      string.sub(extra.asked, 17) .. (stands ~= '' and stands or id), 'PX', ASKED_MS)
  end
  return state, new, stands
end
