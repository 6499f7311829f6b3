-- How a job ends, shared by the scripts that end one.
-- KEYS: jobs, completed, failed, cancelled, meta
-- ARGV: none
-- Returns: record_of(id, score, now) → record; finish(…) and finish_cancelled(…) → true if the job waits again;
--          read_retention(text) → counts and ages; trim_count, trim_age; take_back_crash(id, token, now)
-- constants: MAX_CRASHES KEEP_COMPLETED KEEP_COMPLETED_MS KEEP_FAILED KEEP_FAILED_MS
local OUTCOME_OF = { [COMPLETED] = 'completed', [SKIPPED] = 'skipped', [FAILED] = 'failed', [CANCELLED] = 'cancelled' }

-- Somebody may have removed or broken the record by hand; the job still ends with the reason.
local function record_of(id, score, now)
  local value = redis.call('HGET', KEY.jobs, id)
  return unpack_record(value) or {
    priority = math.floor(score / PRIORITY_STEP), attempts = 0, crashes = 0, flags = 0, created = now, ready = now,
    started = 0, finished = 0, call = string.rep('\0', 8), token = NO_TOKEN, body = value or '',
    story = '', tags = '',
  }
end

-- Returns true if the job waits again because it was added again while it ran. `group` is the failure group of a failed
-- job: its term (8 bytes), then its fields as JSON.
local function finish(record, id, now, index, kind, note, group)
  record.finished = now
  end_slot(id, now, OUTCOME_OF[kind], record.started)
  local n = take_next(id)
  if n then
    append_events(record, event(kind, now, note))
    return begin_next(record, id, now, n)
  end
  release_unique(record.tags, id)
  if group and group ~= '' then set_failure_group(record, id, now, string.sub(group, 1, 8), string.sub(group, 9)) end
  append_events(record, event(kind, now, note))
  redis.call('ZADD', index, now, id)
  if kind == CANCELLED then redis.call('ZADD', KEY.cancelled, now, id) end
  return false
end

-- A job that was added after the cancel still begins. Returns as `finish`.
local function finish_cancelled(record, id, now, reason)
  set_flag(record, FLAG_CANCELLED)
  return finish(record, id, now, KEY.failed, CANCELLED, reason)
end

-- How many completed jobs a queue retains and for how long (ms), then the same for failed ones. The defaults apply until a
-- worker has served the queue.
local function read_retention(text)
  if text and #text >= 24 then return struct.unpack('>I4dI4d', text) end
  return KEEP_COMPLETED, KEEP_COMPLETED_MS, KEEP_FAILED, KEEP_FAILED_MS
end

local function trim(index, ids)
  if #ids == 0 then return end
  redis.call('ZREM', index, unpack(ids))
  drop(ids)
end

local function trim_oldest(of, index, count)
  if count > 0 then trim(index, redis.call('ZRANGE', of, 0, count - 1)) end
end

-- Deletes the oldest jobs of a state above a limit, at most `most` of them. Of failed jobs the cancelled ones go first, down
-- to a tenth of the limit: thousands that are cancelled at once must not push out the other failures.
local function trim_count(index, limit, most)
  local excess = math.min(redis.call('ZCARD', index) - limit, most)
  if excess <= 0 then return end
  local spare = index == KEY.failed and redis.call('ZCARD', KEY.cancelled) - math.floor(limit / 10) or 0
  local cancelled = math.max(0, math.min(spare, excess))
  trim_oldest(KEY.cancelled, index, cancelled)
  trim_oldest(index, index, excess - cancelled)
end

-- Deletes the jobs of a state that ended before a time, at most `most` of them.
local function trim_age(index, before, most)
  trim(index, redis.call('ZRANGEBYSCORE', index, '-inf', string.format('(%.17g', before), 'LIMIT', 0, most))
end

-- If a lost worker sends a heartbeat after all, the crash that was counted for this lease is undone, once.
local function take_back_crash(id, token, now)
  local record = unpack_record(redis.call('HGET', KEY.jobs, id))
  if not record or record.crashes == 0 then return end
  local at, counted = 1, false
  while at + EVENT_SIZE - 1 <= #record.story do
    local kind, _, length, data_at = struct.unpack('>BdI4', record.story, at)
    -- Adding the job again has reset its crashes.
    if kind == ENQUEUED then counted = false end
    if string.sub(record.story, data_at, data_at + 13) == token then
      -- A lease that its worker never received has not counted as a crash.
      local fate = string.sub(record.story, data_at + 14, data_at + length - 1)
      if kind == RECOVERED then counted = fate == 'gone' end
      if kind == LATE then counted = false end
    end
    at = at + EVENT_SIZE + length
  end
  if not counted then return end
  record.crashes = record.crashes - 1
  append_events(record, event(LATE, now, token))
  -- A full Redis may refuse it; the next heartbeat tries again.
  local kept = redis.pcall('HSET', KEY.jobs, id, pack_record(record))
  if type(kept) == 'number' then redis.call('HINCRBY', KEY.meta, 'late', 1) end
end
