-- A job's terms, by which it is found, and its unique key. Both are in the record's tags: mode of the key B · key (16 bytes,
-- unless the mode is 0) · terms of 8 bytes each; with the flag FLAG_FAILURE_GROUP the last is the failure group. A term is the
-- hash of a field and its value.
-- KEYS: terms, failure_groups, failure_groups_seen, unique, unique_for_a_time
-- ARGV: none
-- Returns: index_terms(record, id), unindex_terms(record, id); set_failure_group(record, id, now, term, words),
--          clear_failure_group(record, id); unique_of(tags) → mode, key; hold_unique, release_unique, release_on_start;
--          drop(ids) removes jobs that are in no index

-- The number of times that a failure group was seen is stored in four bytes.
local MAX_SEEN = 4294967295
local UNTIL_START, UNTIL_END, FOR_A_TIME = 1, 2, 3

-- An entry of terms. All have the score 0, so they are ordered by term, then time; reading backwards gives the newest first.
local function entry(term, ms, id)
  return term .. struct.pack('>I6', math.floor(ms)) .. id
end

local function failure_group_of(record)
  return has_flag(record, FLAG_FAILURE_GROUP) and string.sub(record.tags, -8) or nil
end

local function entries_of(record, id)
  local found, tags = {}, record.tags
  local group_at = has_flag(record, FLAG_FAILURE_GROUP) and #tags - 7 or 0
  for at = string.byte(tags) == 0 and 2 or 18, #tags, 8 do
    local ms = at == group_at and record.finished or record.created
    found[#found + 1] = entry(string.sub(tags, at, at + 7), ms, id)
  end
  return found
end

local function index_terms(record, id)
  if #record.tags == 0 then return end
  local scored = {}
  for _, each in ipairs(entries_of(record, id)) do append(scored, 0, each) end
  if #scored > 0 then redis.call('ZADD', KEY.terms, unpack(scored)) end
end

-- Deletes a failure group that has no more jobs.
local function forget_failure_group(term)
  if redis.call('ZLEXCOUNT', KEY.terms, '[' .. term, '(' .. term .. '\255') > 0 then return end
  redis.call('HDEL', KEY.failure_groups, term)
  redis.call('ZREM', KEY.failure_groups_seen, term)
end

local function unindex_terms(record, id)
  if #record.tags == 0 then return end
  local entries = entries_of(record, id)
  if #entries > 0 then redis.call('ZREM', KEY.terms, unpack(entries)) end
  local group = failure_group_of(record)
  if group then forget_failure_group(group) end
end

-- Adds a failed job to a failure group: its term, and the fields that it is the hash of (JSON).
local function set_failure_group(record, id, now, term, words)
  record.tags = (#record.tags == 0 and '\0' or record.tags) .. term
  set_flag(record, FLAG_FAILURE_GROUP)
  redis.call('ZADD', KEY.terms, 0, entry(term, record.finished, id))
  local kept = redis.call('HGET', KEY.failure_groups, term)
  local first, seen = now, 0
  if kept and #kept >= 20 then
    local _
    first, _, seen = struct.unpack('>ddI4', kept)
    seen = math.min(seen, MAX_SEEN - 1)
  end
  redis.call('HSET', KEY.failure_groups, term, struct.pack('>ddI4', first, now, seen + 1) .. words)
  redis.call('ZADD', KEY.failure_groups_seen, now, term)
end

local function clear_failure_group(record, id)
  local group = failure_group_of(record)
  if not group then return end
  redis.call('ZREM', KEY.terms, entry(group, record.finished, id))
  forget_failure_group(group)
  drop_flag(record, FLAG_FAILURE_GROUP)
  record.tags = string.sub(record.tags, 1, -9)
  if record.tags == '\0' then record.tags = '' end
end

-- The mode of a record's unique key, and the key; the mode is 0 if there is none.
local function unique_of(tags)
  if #tags < 17 or string.byte(tags) == 0 then return 0 end
  return string.byte(tags), string.sub(tags, 2, 17)
end

local function hex(text)
  return (string.gsub(text, '.', function(c) return string.format('%02x', string.byte(c)) end))
end

local function hold_unique(tags, id, ttl_ms)
  local mode, key = unique_of(tags)
  if mode == FOR_A_TIME then
    redis.call('SET', KEY.unique_for_a_time(hex(key)), id, 'PX', ttl_ms)
  elseif mode ~= 0 then
    redis.call('HSET', KEY.unique, key, id)
  end
end

local function release_unique(tags, id)
  local mode, key = unique_of(tags)
  if (mode == UNTIL_START or mode == UNTIL_END) and redis.call('HGET', KEY.unique, key) == id then
    redis.call('HDEL', KEY.unique, key)
  end
end

-- A job that never began also frees a key that is unique for a time.
local function release_timed(tags, id)
  local mode, key = unique_of(tags)
  local name = mode == FOR_A_TIME and KEY.unique_for_a_time(hex(key))
  if name and redis.call('GET', name) == id then redis.call('DEL', name) end
end

local function release_on_start(id, value)
  if not value or string.byte(value) ~= 2 or string.byte(value, HEADER_SIZE + 2) ~= UNTIL_START then return end
  release_unique(string.sub(value, HEADER_SIZE + 2, HEADER_SIZE + 18), id)
end

-- Deletes jobs that are in no index any more, at most a thousand at once; `unbegun` if they had not begun.
local function drop(ids, unbegun)
  if unbegun or redis.call('EXISTS', KEY.terms, KEY.unique) > 0 then
    local entries, groups = {}, {}
    for i, value in ipairs(redis.call('HMGET', KEY.jobs, unpack(ids))) do
      local record = unpack_record(value)
      if record and #record.tags > 0 then
        for _, each in ipairs(entries_of(record, ids[i])) do entries[#entries + 1] = each end
        local group = failure_group_of(record)
        if group then groups[group] = true end
        release_unique(record.tags, ids[i])
        if unbegun then release_timed(record.tags, ids[i]) end
      end
    end
    for at = 1, #entries, 1000 do
      redis.call('ZREM', KEY.terms, unpack(entries, at, math.min(#entries, at + 999)))
    end
    for group in pairs(groups) do forget_failure_group(group) end
  end
  redis.call('HDEL', KEY.jobs, unpack(ids))
  redis.call('HDEL', KEY.notes, unpack(ids))
  redis.call('HDEL', KEY.next, unpack(ids))
  redis.call('ZREM', KEY.cancelled, unpack(ids))
end
