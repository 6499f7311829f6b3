-- include: record queue clock limits tags worker
-- Promotes due jobs, then leases the first waiting jobs to a worker: delayed → waiting, waiting → active.
-- KEYS: 1 the queue's base
-- ARGV: 1 worker id (8 bytes), 2 request number, 3 free slots, 4 worker's name, 5 how many suspects it may take,
--       6 its evidence of the clock (lib/clock.lua)
-- Returns: now (ms), when to request jobs again (ms or ''), how many suspects were passed over, then 4 a job:
--          id, header and body, number within the request, score in waiting
-- Closes: a lost reply. A repeated request number gets the same leases again; an older one gets none, so that no lease
--          exists that its worker does not know. Two jobs that were running on a lost worker (suspects) do not run
--          together in one process, so that only the one that kills workers loses another.
local PROMOTE_AT_ONCE = 300
-- The maximum number of suspects that are passed over to find another job.
local MAX_PASSED_OVER = 64
local worker, request, free, name = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local suspects = tonumber(ARGV[5])
local now, sure = seen_ms(ARGV[6])
-- Jobs become due only by a time that is sure.
local sure_now = sure and now or clock.confirmed

-- The story is not sent. An unreadable value is sent as it is: the worker fails the job with the reason.
local function append_leased(reply, id, value, number, score)
  if unpack_record(value) then
    local length = struct.unpack('>I4', value, HEADER_SIZE - 3)
    value = string.sub(value, 1, body_at(value) - 1 + length)
  end
  append(reply, id, value or '', number, score)
end

local mark = unpack_mark(redis.call('HGET', KEY.workers, worker))
if mark and not is_ahead(request, mark.request) then
  local at = next_start(sure_now)
  local reply = { string.format('%.3f', now), ask_later(at, sure_now, now, sure), 0 }
  if request == mark.request then
    local prefix = worker .. struct.pack('>I4', request)
    local all = redis.call('HGETALL', KEY.active)
    for i = 1, #all, 2 do
      if string.sub(all[i + 1], 1, 12) == prefix then
        local token, _, score = unpack_lease(all[i + 1])
        local number = struct.unpack('>I2', token, 13)
        append_leased(reply, all[i], redis.call('HGET', KEY.jobs, all[i]), number, string.format('%.17g', score))
      end
    end
  end
  return reply
end

local due = next_start(sure_now)
if due and due <= sure_now then
  local ids = redis.call('ZRANGEBYSCORE', KEY.delayed, '-inf', string.format('%.17g', sure_now), 'LIMIT', 0, PROMOTE_AT_ONCE)
  local values = #ids > 0 and redis.call('HMGET', KEY.jobs, unpack(ids))
  if values then redis.call('ZREM', KEY.delayed, unpack(ids)) end
  for i, id in ipairs(ids) do
    local record = unpack_record(values[i])
    append_waiting(id, record and record.priority or 0)
  end
end

local paused, limit = is_paused(sure_now), limit_at_a_time()
local take = paused and 0 or math.min(free, (room_by_rate(sure_now)))
if limit then take = math.max(0, math.min(take, limit - redis.call('HLEN', KEY.active))) end
local reply = { string.format('%.3f', now), '', 0 }
local taken, passed_over = 0, 0

while taken < take and passed_over <= MAX_PASSED_OVER do
  -- Leased jobs leave the list, so only those that were passed over precede the next candidates.
  local head = redis.call('ZRANGE', KEY.waiting, passed_over, passed_over + take - taken - 1, 'WITHSCORES')
  if #head == 0 then break end
  local ids, chosen = {}, {}
  for i = 1, #head, 2 do ids[#ids + 1] = head[i] end
  local values = redis.call('HMGET', KEY.jobs, unpack(ids))
  for i, id in ipairs(ids) do
    local suspect = values[i] and string.byte(values[i], CRASHES_AT) or 0
    if suspect > 0 and suspects == 0 then
      passed_over = passed_over + 1
    else
      if suspect > 0 then suspects = suspects - 1 end
      chosen[#chosen + 1] = i
    end
  end
  local names = {}
  for n, i in ipairs(chosen) do names[n] = ids[i] end
  if #names > 0 then redis.call('ZREM', KEY.waiting, unpack(names)) end
  for _, i in ipairs(chosen) do
    taken = taken + 1
    local token = worker .. struct.pack('>I4I2', request, taken)
    redis.call('HSET', KEY.active, ids[i], pack_lease(token, now, tonumber(head[2 * i]), ''))
    release_on_start(ids[i], values[i])
    append_leased(reply, ids[i], values[i], taken, head[2 * i])
  end
end
note_starts(sure_now, taken)
local at = next_start(sure_now)
reply[2], reply[3] = ask_later(at, sure_now, now, sure), passed_over
-- The worker's mark is written last: a full Redis refuses it if nothing was written before, which means nothing was leased.
redis.pcall('HSET', KEY.workers, worker, pack_mark({ heard = clock.raw, request = request, missed = 0, name = name }))
local left = redis.call('ZCARD', KEY.waiting)
if left == 0 or paused then
  redis.call('DEL', KEY.wake)
elseif taken > 0 and (taken == take or passed_over > 0) then
  wake()
end
return reply
