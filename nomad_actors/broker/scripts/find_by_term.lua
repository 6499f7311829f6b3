-- include: record queue clock tags page
-- Reads jobs that have a term, in whatever state, newest first.
-- KEYS: 1 the queue's base
-- ARGV: 1 and 2 the highest and the lowest entry as ZREVRANGEBYLEX takes them, 3 how many
-- Returns: 1 when there are more of these that were too long for one answer, else 0; then 5 a job: entry, state ('' when it
--          is just being removed), record, lease (or ''), notes (or '')
local answer, bytes = { 0 }, 0
local found = redis.call('ZREVRANGEBYLEX', KEY.terms, ARGV[1], ARGV[2], 'LIMIT', 0, tonumber(ARGV[3]))
for i, entry_found in ipairs(found) do
  local id = string.sub(entry_found, 15)
  local state = state_of(id)
  answer[#answer + 1] = entry_found
  answer[#answer + 1] = state or ''
  local value, notes = redis.call('HGET', KEY.jobs, id) or '', redis.call('HGET', KEY.notes, id) or ''
  answer[#answer + 1] = value
  answer[#answer + 1] = state == 'active' and redis.call('HGET', KEY.active, id) or ''
  answer[#answer + 1] = notes
  bytes = bytes + #value + #notes
  if bytes > MOST_BYTES and i < #found then
    answer[1] = 1
    break
  end
end
return answer
