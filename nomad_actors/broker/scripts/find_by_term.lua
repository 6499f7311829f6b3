-- include: record queue clock tags page
-- Reads the jobs that have a term, in any state, newest first.
-- KEYS: 1 the queue's base
-- ARGV: 1 and 2 the highest and the lowest entry as ZREVRANGEBYLEX takes them, 3 how many
-- Returns: 1 if there are more that were too long for one reply, else 0; then 5 a job: entry, state ('' if it is just
--          being removed), record, lease (or ''), notes (or '')
local reply, bytes = { 0 }, 0
local found = redis.call('ZREVRANGEBYLEX', KEY.terms, ARGV[1], ARGV[2], 'LIMIT', 0, tonumber(ARGV[3]))
for i, entry_found in ipairs(found) do
  local id = string.sub(entry_found, 15)
  local state = state_of(id)
  local value, notes = redis.call('HGET', KEY.jobs, id) or '', redis.call('HGET', KEY.notes, id) or ''
  local lease = state == 'active' and redis.call('HGET', KEY.active, id) or ''
  append(reply, entry_found, state or '', value, lease, notes)
  bytes = bytes + #value + #notes
  if bytes > MOST_BYTES and i < #found then
    reply[1] = 1
    break
  end
end
return reply
