-- include: queue page
-- Reads a page of one state's jobs at one instant.
-- KEYS: 1 the queue's base
-- ARGV: 1 state, 2 first, 3 last (inclusive, as ZRANGE), 4 'rev' for newest first
-- Returns: 1 if there are more that were too long for one reply, else 0; then 4 a job: id, record, lease (or ''),
--          notes (or '')
local reply, bytes = { 0 }, 0
local function append_job(id, lease)
  local value, notes = redis.call('HGET', KEY.jobs, id) or '', redis.call('HGET', KEY.notes, id) or ''
  append(reply, id, value, lease, notes)
  bytes = bytes + #value + #notes
end

if ARGV[1] == 'active' then
  -- Bounded by the workers' slots; the reader sorts and cuts the list.
  local all = redis.call('HGETALL', KEY.active)
  for i = 1, #all, 2 do append_job(all[i], all[i + 1]) end
  return reply
end
local command = ARGV[4] == 'rev' and 'ZREVRANGE' or 'ZRANGE'
local ids = redis.call(command, INDEX[ARGV[1]], ARGV[2], ARGV[3])
for i, id in ipairs(ids) do
  append_job(id, '')
  if bytes > MOST_BYTES and i < #ids then
    reply[1] = 1
    break
  end
end
return reply
