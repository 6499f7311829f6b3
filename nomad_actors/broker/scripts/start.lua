-- include: _record _queue
-- Promotes what is due, then leases the first jobs to a worker: delayed → waiting, waiting → active.
-- KEYS: 1 the queue's base
-- ARGV: 1 worker id (8 bytes), 2 request number, 3 free places, 4 worker's name
-- Returns: now (ms), next due (ms or ''), 1 when jobs are left that this queue may start, then 4 a job:
--          id, header and body, number within the request, score in waiting
-- Closes: a lost reply. A request number that was served already gets the same leases again; one that was overtaken
--          gets none, so that no lease exists that its worker does not know.
local PROMOTE_AT_ONCE = 300
local worker, request, free, name = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local now = now_ms()

-- The story stays here. An unreadable value goes as it is: the worker fails the job with the reason.
local function tell_leased(answer, id, value, number, score)
  if unpack_record(value) then
    local length = struct.unpack('>I4', value, HEADER_SIZE - 3)
    value = string.sub(value, 1, HEADER_SIZE + length)
  end
  answer[#answer + 1] = id
  answer[#answer + 1] = value or ''
  answer[#answer + 1] = number
  answer[#answer + 1] = score
end

local function next_due()
  local first = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
  return first[2] or '', first[2] and tonumber(first[2])
end

local seen = redis.call('HGET', WORKERS, worker)
local last = seen and select(2, struct.unpack('>dI4', seen)) or 0
if request <= last then
  local answer = { string.format('%.3f', now), (next_due()), 1 }
  if request == last then
    local prefix = worker .. struct.pack('>I4', request)
    local all = redis.call('HGETALL', ACTIVE)
    for i = 1, #all, 2 do
      if string.sub(all[i + 1], 1, 12) == prefix then
        local token, _, score = struct.unpack('>c14dd', all[i + 1])
        local number = struct.unpack('>I2', token, 13)
        tell_leased(answer, all[i], redis.call('HGET', JOBS, all[i]), number, string.format('%.17g', score))
      end
    end
  end
  return answer
end

local due_text, due = next_due()
if due and due <= now then
  local ids = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', string.format('%.17g', now), 'LIMIT', 0, PROMOTE_AT_ONCE)
  local values = redis.call('HMGET', JOBS, unpack(ids))
  redis.call('ZREM', DELAYED, unpack(ids))
  for i, id in ipairs(ids) do
    local record = unpack_record(values[i])
    append_waiting(id, record and record.priority or 0)
  end
  due_text, due = next_due()
end

local meta = redis.call('HMGET', META, 'paused', 'limit')
local take = meta[1] and 0 or free
if meta[2] then take = math.max(0, math.min(take, tonumber(meta[2]) - redis.call('HLEN', ACTIVE))) end
local answer = { string.format('%.3f', now), due_text, 0 }
local ids, number = {}, 0
if take > 0 then
  local head = redis.call('ZRANGE', WAITING, 0, take - 1, 'WITHSCORES')
  for i = 1, #head, 2 do ids[#ids + 1] = head[i] end
  if #ids > 0 then
    local values = redis.call('HMGET', JOBS, unpack(ids))
    redis.call('ZREM', WAITING, unpack(ids))
    local prefix = worker .. struct.pack('>I4', request)
    for i, id in ipairs(ids) do
      local score = tonumber(head[2 * i])
      local token = prefix .. struct.pack('>I2', i)
      redis.call('HSET', ACTIVE, id, struct.pack('>c14dd', token, now, score))
      tell_leased(answer, id, values[i], i, head[2 * i])
    end
  end
end
-- The worker's mark comes last: a full Redis refuses it as a first write, and then nothing was leased.
redis.pcall('HSET', WORKERS, worker, struct.pack('>dI4', now, request) .. name)
local left = redis.call('ZCARD', WAITING)
if left == 0 or meta[1] then
  redis.call('DEL', WAKE)
elseif #ids == take and take > 0 then
  answer[3] = 1
  wake()
end
return answer
