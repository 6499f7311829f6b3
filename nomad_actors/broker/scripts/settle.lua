-- include: _record _queue _add
-- Ends leases: active → completed, failed, delayed (retry) or waiting (release), with what the run enqueued.
-- KEYS: 1 the queue's base
-- ARGV: 1 worker's name, then a lease: id, token, outcome (completed skipped failed retried released), delay (ms),
--       body ('' as it was), error (JSON or ''), note (result as JSON, or why it failed), how many jobs it enqueued,
--       then 6 each as in enqueue
-- Returns: now (ms), then one a lease: ok, already (this token settled it before), fenced (the lease is another's now)
--       or gone
-- Closes: a lease that was taken over; the step after a job lost between "enqueue the next thing" and "ack"; a full
--       Redis: the first write frees, so it is allowed.
local now, name = now_ms(), ARGV[1]
local answer = { string.format('%.3f', now) }
local completed, failed, run_ms, at = 0, 0, 0, 2
local must_wake = false

local function add_outbox(count)
  for _ = 1, count do
    local state = add(now, ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]),
      tonumber(ARGV[at + 4]), ARGV[at + 5])
    must_wake = must_wake or state == 'waiting'
    at = at + 6
  end
end

-- The record may be gone or rubbish (somebody's hand in Redis): the job still ends, with the reason.
local function record_of(id, score)
  local value = redis.call('HGET', JOBS, id)
  return unpack_record(value) or {
    priority = math.floor(score / PRIORITY_STEP), attempts = 0, crashes = 0, flags = 0, created = now, ready = now,
    started = 0, finished = 0, call = string.rep('\0', 8), token = NO_TOKEN, body = value or '',
    story = '',
  }
end

local function finish(record, id, index, kind, note)
  record.finished = now
  if record.flags >= FLAG_RUN_ONCE_MORE then
    record.flags, record.attempts, record.finished, record.ready = 0, 0, 0, now
    tell(record, event(kind, now, note) .. event(ENQUEUED, now, ''))
    append_waiting(id, record.priority)
    must_wake = true
    return
  end
  tell(record, event(kind, now, note))
  redis.call('ZADD', index, now, id)
end

while at <= #ARGV do
  local id, token, outcome, delay = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local body, err, note, enqueued = ARGV[at + 4], ARGV[at + 5], ARGV[at + 6], tonumber(ARGV[at + 7])
  at = at + 8
  local lease = redis.call('HGET', ACTIVE, id)
  local holder, started, score
  if lease then holder, started, score = struct.unpack('>c14dd', lease) end
  if holder ~= token then
    local record = unpack_record(redis.call('HGET', JOBS, id))
    answer[#answer + 1] = not record and 'gone' or record.token == token and 'already' or 'fenced'
    at = at + 6 * enqueued
  else
    local record = record_of(id, score)
    redis.call('HDEL', ACTIVE, id)
    record.token, record.started = token, started
    if body ~= '' and record.flags < FLAG_RUN_ONCE_MORE then record.body = body end
    tell(record, event(STARTED, started, name))
    if err ~= '' then tell(record, event(ERROR, now, err)) end
    if outcome == 'released' then
      tell(record, event(RELEASED, now, ''))
      redis.call('ZADD', WAITING, score, id)
      must_wake = true
    else
      record.attempts = record.attempts + 1
      if outcome == 'retried' then
        record.ready = now + delay
        tell(record, event(RETRY, now, struct.pack('>d', record.ready)))
        add_delayed(id, record.ready)
      elseif outcome == 'failed' then
        finish(record, id, DEAD, FAILED, note)
        failed = failed + 1
      else
        if outcome == 'skipped' and record.flags % 2 == 0 then record.flags = record.flags + FLAG_SKIPPED end
        finish(record, id, DONE, outcome == 'skipped' and SKIPPED or COMPLETED, note)
        completed, run_ms = completed + 1, run_ms + (now - started)
      end
    end
    redis.call('HSET', JOBS, id, pack_record(record))
    add_outbox(enqueued)
    answer[#answer + 1] = 'ok'
  end
end

if completed + failed > 0 then
  local minute = math.floor(now / 60000)
  local slot = tostring(minute % 1500)
  local kept = redis.call('HGET', STATS, slot)
  local then_minute, c, f, ms = 0, 0, 0, 0
  if kept then then_minute, c, f, ms = struct.unpack('>I4I4I4d', kept) end
  if then_minute ~= minute then c, f, ms = 0, 0, 0 end
  redis.call('HSET', STATS, slot, struct.pack('>I4I4I4d', minute, c + completed, f + failed, ms + run_ms))
end
local meta = redis.call('HMGET', META, 'paused', 'limit')
-- A place of a queue that is limited over all hosts may be waited for elsewhere.
if meta[2] and redis.call('ZCARD', WAITING) > 0 then must_wake = true end
if must_wake and not meta[1] then wake() end
return answer
