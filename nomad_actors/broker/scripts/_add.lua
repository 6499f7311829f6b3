-- Adds one job, or finds the one that stands. The caller has read nothing of it; the first write here is refused by a
-- full Redis. Returns the state the job is in afterwards, and whether this call put it there.
--
-- A known id is not a second job: the same call repeated gets the same answer; one that waits or is delayed stands as
-- it is; one that runs is run once more afterwards, with the new body; one that ended starts afresh.
local function add(now, id, call, priority, delay, created, body)
  local value = redis.call('HGET', JOBS, id)
  local known = unpack_record(value)
  local state = value and state_of(id)
  if known and state then
    if known.call == call or state == 'waiting' or state == 'delayed' then return state, 0 end
    if state == 'active' then
      known.call, known.body, known.priority = call, body, priority
      set_flag(known, FLAG_RUN_ONCE_MORE)
      redis.call('HSET', JOBS, id, pack_record(known))
      return state, 1
    end
  end
  local due = now + delay
  local record = {
    priority = priority, attempts = 0, crashes = 0, flags = 0, created = created, ready = due, started = 0,
    finished = 0, call = call, token = NO_TOKEN, body = body, story = known and known.story or '',
  }
  if known then tell(record, event(ENQUEUED, now, '')) end
  redis.call('HSET', JOBS, id, pack_record(record))
  if state then
    redis.call('ZREM', INDEX[state], id)
    redis.call('HDEL', NOTES, id)
  end
  if delay > 0 then
    add_delayed(id, due)
    return 'delayed', 1
  end
  append_waiting(id, priority)
  return 'waiting', 1
end
