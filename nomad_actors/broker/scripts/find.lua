-- include: _record _queue _tags
-- Reads jobs that have a term, in whatever state, newest first.
-- KEYS: 1 the queue's base
-- ARGV: 1 and 2 the highest and the lowest entry as ZREVRANGEBYLEX takes them, 3 how many
-- Returns: 5 a job: entry, state ('' when it is just being removed), record, lease (or ''), notes (or '')
local answer = {}
for _, entry_found in ipairs(redis.call('ZREVRANGEBYLEX', TERMS, ARGV[1], ARGV[2], 'LIMIT', 0, tonumber(ARGV[3]))) do
  local id = string.sub(entry_found, 15)
  local state = state_of(id)
  answer[#answer + 1] = entry_found
  answer[#answer + 1] = state or ''
  answer[#answer + 1] = redis.call('HGET', JOBS, id) or ''
  answer[#answer + 1] = state == 'active' and redis.call('HGET', ACTIVE, id) or ''
  answer[#answer + 1] = redis.call('HGET', NOTES, id) or ''
end
return answer
