-- include: record queue clock limits tags slots next add stats end
-- Settles leases: active → completed, failed, delayed (retry, deferral) or waiting (release), and adds the jobs that the run
-- enqueued.
-- KEYS: 1 the queue's base
-- ARGV: 1 worker's name, 2 its evidence of the clock (lib/clock.lua), then a lease: id, token, outcome (completed
--       skipped failed cancelled retried deferred released), delay (ms), body ('' if unchanged), error (JSON or ''), note
--       (result as JSON, or why it failed or is deferred), failure group (its term and fields, or ''), how many jobs it
--       enqueued, then the fields of each of those (lib/add.lua); `Settlement.arguments` sends them in this order
-- Returns: now (ms), then one a lease: ok, cancelled (an operator requested it meanwhile), already (this token settled
--          it before), fenced (another worker has the lease) or gone
-- Closes: a lease that another worker has by now; jobs that a run enqueues, lost between enqueueing and settling; a full
--         Redis: the first write frees memory, so it is allowed.
local now, name = seen_ms(ARGV[2]), ARGV[1]
local reply = { string.format('%.3f', now) }
local LEASE_FIELDS = 9
local tally, at = new_tally(), 3
local must_wake, ended = false, 0

local function add_outbox(count)
  for _ = 1, count do
    must_wake = add_from(now, at) == 'waiting' or must_wake
    at = at + JOB_FIELDS
  end
end

local function count_run(outcome, record, started)
  tally_outcome(tally, outcome, actor_of(record))
  if outcome == 'released' then return end
  local wait = math.max(0, started - record.ready)
  tally.wait_ms = tally.wait_ms + wait
  tally_duration(tally.waits, wait)
  if outcome == 'completed' or outcome == 'skipped' then
    tally.run_ms = tally.run_ms + (now - started)
    tally_duration(tally.runs, now - started)
  end
end

local function come_back_later(record, id, kind, delay, note)
  record.ready = now + delay
  append_events(record, event(kind, now, struct.pack('>d', record.ready) .. note))
  add_delayed(id, record.ready)
end

while at <= #ARGV do
  local id, token, outcome, delay, body, err, note, group, enqueued = unpack(ARGV, at, at + LEASE_FIELDS - 1)
  enqueued = tonumber(enqueued)
  at = at + LEASE_FIELDS
  local lease = redis.call('HGET', KEY.active, id)
  local holder, started, score, cancel
  if lease then holder, started, score, cancel = unpack_lease(lease) end
  if holder ~= token then
    local record = unpack_record(redis.call('HGET', KEY.jobs, id))
    local word = not record and 'gone' or record.token == token and 'already' or 'fenced'
    if word == 'fenced' then take_back_crash(id, token, now) end
    reply[#reply + 1] = word
    at = at + JOB_FIELDS * enqueued
  else
    local record = record_of(id, score, now)
    local word = 'ok'
    if cancel ~= '' and outcome ~= 'completed' and outcome ~= 'skipped' then
      outcome, note, word = 'cancelled', cancel, 'cancelled'
    end
    redis.call('HDEL', KEY.active, id)
    record.token, record.started = token, started
    if body ~= '' then record.body = body end
    append_events(record, event(STARTED, started, name))
    if err ~= '' then append_events(record, event(ERROR, now, err)) end
    count_run(outcome, record, started)
    if outcome == 'released' then
      append_events(record, event(RELEASED, now, ''))
      redis.call('ZADD', KEY.waiting, score, id)
      must_wake = true
    elseif outcome == 'deferred' then
      come_back_later(record, id, DEFERRED, tonumber(delay), note)
    else
      record.attempts = math.min(MAX_ATTEMPTS, record.attempts + 1)
      if outcome == 'retried' then
        come_back_later(record, id, RETRY, tonumber(delay), '')
      elseif outcome == 'cancelled' then
        must_wake = finish_cancelled(record, id, now, note) or must_wake
        ended = ended + 1
      elseif outcome == 'failed' then
        must_wake = finish(record, id, now, KEY.failed, FAILED, note, group) or must_wake
        ended = ended + 1
      else
        if outcome == 'skipped' then set_flag(record, FLAG_SKIPPED) end
        local kind = outcome == 'skipped' and SKIPPED or COMPLETED
        must_wake = finish(record, id, now, KEY.completed, kind, note) or must_wake
        ended = ended + 1
      end
    end
    redis.call('HSET', KEY.jobs, id, pack_record(record))
    add_outbox(enqueued)
    reply[#reply + 1] = word
  end
end

write_tally(tally, now)
if ended > 0 then
  local completed, _, failed = read_retention(redis.call('HGET', KEY.meta, 'keep'))
  -- Twice the number of ended jobs, so that a lowered limit is reached step by step.
  trim_count(KEY.completed, completed, 2 * ended)
  trim_count(KEY.failed, failed, 2 * ended)
end
-- Another process may wait for a free slot of a queue that is limited over all hosts.
if limit_at_a_time() and redis.call('ZCARD', KEY.waiting) > 0 then must_wake = true end
if must_wake and not is_paused(now) then wake() end
return reply
