-- Adds one job, or finds the one that stands. The caller has read nothing of it; the first write here is refused by a
-- full Redis. Returns the state that the job is in afterwards, whether this call put it there, and the id of the job that
-- stands in its place ('' for none).
--
-- A known id is not a second job: the same call repeated gets the same answer; one that waits or is delayed stands as
-- it is; one that runs is run once more afterwards, with the new body; one that ended starts afresh. A unique key that
-- another job holds: that job stands, or is replaced while it has not begun, or is run once more with the new body.
--
-- `extra`: '' for nothing, or: length of tags B · tags (_tags) · replace B · for how long the key is held (ms) d · length B
-- of what follows, 0 or 24: the caller's own key for this request (16 bytes) and a digest of what it asks for (8).
local ASKED_MS = 86400000

local function unpack_extra(text)
  if text == '' then return { tags = '', asked = '' } end
  local length = string.byte(text)
  local replace, ttl, _, at = struct.unpack('>BdB', text, 2 + length)
  return { tags = string.sub(text, 2, 1 + length), replace = replace == 1, ttl = ttl, asked = string.sub(text, at) }
end

local function holder_of(tags)
  local mode, key = unique_of(tags)
  if mode == 0 then return nil end
  if mode == FOR_A_TIME then return redis.call('GET', timed_key('unique', key)) or nil, mode end
  return redis.call('HGET', UNIQUE, key) or nil, mode
end

local function run_once_more(record, id, call, body, priority)
  record.call, record.body, record.priority = call, body, priority
  set_flag(record, FLAG_RUN_ONCE_MORE)
  redis.call('HSET', JOBS, id, pack_record(record))
end

-- Answers for the job that holds the unique key; nil when the new one is to be added, in place of `instead` if given.
local function standing(id, extra, call, body, priority)
  local holder, mode = holder_of(extra.tags)
  if not holder or holder == id then return nil end
  local state = state_of(holder)
  local begun = state ~= 'waiting' and state ~= 'delayed'
  if mode == UNTIL_START and begun then return nil end
  if mode == UNTIL_END and begun and state ~= 'active' then return nil end
  if not extra.replace then return state or 'gone', 0, holder end
  if not begun then return nil, nil, nil, holder, state end
  local record = state == 'active' and unpack_record(redis.call('HGET', JOBS, holder))
  if not record then return state or 'gone', 0, holder end
  run_once_more(record, holder, call, body, priority)
  return state, 1, holder
end

-- What a caller's own key was used for before: the job's id, and whether that was something else.
local function asked_before(asked)
  local told = redis.call('GET', timed_key('asked', string.sub(asked, 1, 16)))
  if not told then return nil end
  return string.sub(told, 9), string.sub(told, 1, 8) ~= string.sub(asked, 17)
end

local function add(now, id, call, priority, delay, created, body, packed)
  local extra = unpack_extra(packed)
  if extra.asked ~= '' then
    local job = asked_before(extra.asked)
    if job then return state_of(job) or 'gone', 0, job ~= id and job or '' end
  end
  local value = redis.call('HGET', JOBS, id)
  local known = unpack_record(value)
  local state = value and state_of(id)
  if known and state then
    if known.call == call or state == 'waiting' or state == 'delayed' then return state, 0, '' end
    if state == 'active' then
      run_once_more(known, id, call, body, priority)
      return state, 1, ''
    end
  end
  local word, new, holder, instead, instead_state = standing(id, extra, call, body, priority)
  if word then return word, new, holder end
  local due = now + delay
  local record = {
    priority = priority, attempts = 0, crashes = 0, flags = 0, created = created, ready = due, started = 0,
    finished = 0, call = call, token = NO_TOKEN, body = body, story = known and known.story or '', tags = extra.tags,
  }
  if known then tell(record, event(ENQUEUED, now, '')) end
  redis.call('HSET', JOBS, id, pack_record(record))
  if known then
    unindex_terms(known, id)
    release_unique(known.tags, id)
  end
  if state then
    redis.call('ZREM', INDEX[state], id)
    redis.call('HDEL', NOTES, id)
  end
  if instead then
    redis.call('ZREM', INDEX[instead_state], instead)
    drop({ instead })
    end_slot(instead, now, 'replaced', 0)
  end
  index_terms(record, id)
  hold_unique(extra.tags, id, extra.ttl)
  if extra.asked ~= '' then
    redis.call('SET', timed_key('asked', string.sub(extra.asked, 1, 16)), string.sub(extra.asked, 17) .. id,
      'PX', ASKED_MS)
  end
  if delay > 0 then
    add_delayed(id, due)
    return 'delayed', 1, ''
  end
  append_waiting(id, priority)
  return 'waiting', 1, ''
end

-- How many jobs a queue may hold that have not begun; says why a call that adds more is refused, before it has written.
local function refuse(first, count)
  local most = tonumber(redis.call('HGET', META, 'max_length') or nil)
  local new = 0
  for i = first, first + 7 * (count - 1), 7 do
    local extra = unpack_extra(ARGV[i + 6])
    local before, other
    if extra.asked ~= '' then before, other = asked_before(extra.asked) end
    if other then return { 'asked', before } end
    if most and not before then
      local known = unpack_record(redis.call('HGET', JOBS, ARGV[i]))
      if not known or known.call ~= ARGV[i + 1] then new = new + 1 end
    end
  end
  if most and new > 0 and redis.call('ZCARD', WAITING) + redis.call('ZCARD', DELAYED) + new > most then
    return { 'full', most }
  end
  return nil
end
