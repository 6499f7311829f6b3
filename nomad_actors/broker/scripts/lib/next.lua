-- The job that follows an active one: it was added meanwhile with the same id or unique key, and begins, with its own
-- attempts and data, after that one has completed or failed. An entry of next: priority h · delay (ms) d · created d ·
-- call 8 bytes · length of extra I2 · extra (unpack_extra) · body.
-- KEYS: next
-- ARGV: none
-- Returns: put_next(id, …), take_next(id) → entry or nil, forget_next(tags, id), begin_next(record, id, now, entry) → true
--          if it waits, unpack_extra(text)
local NEXT_HEAD = '>hddc8I2'
local NEXT_CALL_AT = 19

-- `extra`: '' for nothing, or: length of tags B · tags (lib/tags.lua) · replace B · how long the unique key lasts (ms) d ·
-- length B of the rest, 0 or 24: the digests of the idempotency key (16 bytes) and of the request (8).
local function unpack_extra(text)
  local length = string.byte(text)
  if text == '' or #text < length + 11 then return { tags = '', idempotency = '' } end
  local replace, ttl, _, at = struct.unpack('>BdB', text, 2 + length)
  return { tags = string.sub(text, 2, 1 + length), replace = replace == 1, ttl = ttl, idempotency = string.sub(text, at) }
end

-- Reserves a unique key for a job that will begin later, unless another job has it.
local function hold_ahead(tags, id, ttl_ms)
  local mode, key = unique_of(tags)
  if mode == FOR_A_TIME then
    local name = KEY.unique_for_a_time(hex(key))
    if (redis.call('GET', name) or id) == id then redis.call('SET', name, id, 'PX', ttl_ms) end
  elseif mode ~= 0 then
    redis.call('HSETNX', KEY.unique, key, id)
  end
end

local function put_next(id, call, priority, delay, created, body, packed)
  redis.call('HSET', KEY.next, id, struct.pack(NEXT_HEAD, priority, delay, created, call, #packed) .. packed .. body)
  local extra = unpack_extra(packed)
  hold_ahead(extra.tags, id, extra.ttl)
end

local function take_next(id)
  local stored = redis.call('HGET', KEY.next, id)
  if not stored then return nil end
  redis.call('HDEL', KEY.next, id)
  if #stored < 28 then return nil end
  local n, length, at = {}, nil, nil
  n.priority, n.delay, n.created, n.call, length, at = struct.unpack(NEXT_HEAD, stored)
  n.tags, n.body = unpack_extra(string.sub(stored, at, at + length - 1)).tags, string.sub(stored, at + length)
  return n
end

-- Cancelling a job (whose tags these are) also removes the job that follows it.
local function forget_next(tags, id)
  local n = take_next(id)
  if not n then return end
  local _, own = unique_of(tags)
  local _, held = unique_of(n.tags)
  if held and held ~= own then release_unique(n.tags, id) end
end

-- Replaces the record of an ended job with the job that follows it; returns true if that waits.
local function begin_next(record, id, now, n)
  unindex_terms(record, id)
  release_unique(record.tags, id)
  redis.call('HDEL', KEY.notes, id)
  record.flags, record.attempts, record.crashes, record.finished = 0, 0, 0, 0
  record.priority, record.created, record.call, record.body, record.tags = n.priority, n.created, n.call, n.body, n.tags
  record.ready = now + n.delay
  append_events(record, event(ENQUEUED, now, ''))
  index_terms(record, id)
  local mode, key = unique_of(record.tags)
  if mode == UNTIL_START or mode == UNTIL_END then redis.call('HSETNX', KEY.unique, key, id) end
  if n.delay > 0 then
    add_delayed(id, record.ready)
    return false
  end
  append_waiting(id, record.priority)
  return true
end
