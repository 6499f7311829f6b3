-- Many jobs added in one call: they are stored in parts that expire, then committed in one step, then added part by part in
-- short steps by the caller or, if it dies, by heartbeats. A bulk is a hash: number of the part → its jobs; and once it is
-- committed, the `next` part to add, the number of `parts`, how many jobs are `left`, and when it was `touched` (ms).
-- KEYS: bulks, bulk, bulk_done and those of add
-- ARGV: none
-- Returns: add_part(now, id, number) → 3 a job as enqueue, continue_bulk(now) → true if there is more to do, finish_bulk(id)
local JOB_HEAD = '>HhddI4Hc8'
local BULK_LEFT_MS = 10000

local function finish_bulk(id)
  redis.call('UNLINK', KEY.bulk(id))
  redis.call('LREM', KEY.bulks, 1, id)
  -- For a repeat of the commit.
  redis.call('SET', KEY.bulk_done(id), '1', 'PX', 600000)
end

-- Adds the jobs of one part, or reads their states if they were added before.
local function add_part(now, id, number)
  local key, reply, added = KEY.bulk(id), {}, false
  local fields = redis.call('HMGET', key, 'next', 'parts', number)
  local at, part = 1, fields[3]
  if not fields[1] or not part then return reply end
  local is_repeat = number < tonumber(fields[1])
  while at <= #part do
    local id_length, priority, delay, created, body_length, extra_length, call, begin =
      struct.unpack(JOB_HEAD, part, at)
    local body_begin = begin + id_length
    at = body_begin + body_length + extra_length
    local job = string.sub(part, begin, body_begin - 1)
    local state, new, other
    if is_repeat then
      state, new, other = state_of(job) or 'gone', 0, ''
    else
      state, new, other = add(now, job, call, priority, delay, created,
        string.sub(part, body_begin, body_begin + body_length - 1), string.sub(part, at - extra_length, at - 1))
    end
    added = added or (new == 1 and state == 'waiting')
    append(reply, state, new, other)
  end
  if not is_repeat then
    redis.call('HSET', key, 'next', number + 1, 'touched', string.format('%.0f', now))
    redis.call('HINCRBY', key, 'left', -#reply / 3)
    -- The part that was added last stays, because its reply may have been lost.
    redis.call('HDEL', key, number - 1)
  end
  if added and not is_paused(now) then wake() end
  return reply
end

-- Adds one part of a bulk whose caller has not continued for a while; returns true if there is more to do.
local function continue_bulk(now)
  local id = redis.call('LINDEX', KEY.bulks, 0)
  if not id then return false end
  local fields = redis.call('HMGET', KEY.bulk(id), 'next', 'parts', 'touched')
  if not fields[1] or (tonumber(fields[1]) or 0) >= (tonumber(fields[2]) or 0) then
    finish_bulk(id)
  elseif now - (tonumber(fields[3]) or 0) >= BULK_LEFT_MS then
    add_part(now, id, tonumber(fields[1]))
    -- Its caller is still lost, so the next step need not wait.
    redis.call('HSET', KEY.bulk(id), 'touched', fields[3])
  else
    return false
  end
  return redis.call('LLEN', KEY.bulks) > 0
end
