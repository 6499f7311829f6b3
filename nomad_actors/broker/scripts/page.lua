-- include: _queue _page
-- Reads a page of one state's jobs, going on where another page ended.
-- KEYS: 1 the queue's base
-- ARGV: 1 state, 2 'rev' for the highest score first, 3 how many, 4 and 5 score and id that it goes on after ('' for
--       neither), 6 and 7 the lowest and the highest score
-- Returns: 1 when there are more of these that were too long for one answer, else 0; then 4 a job: id, score, record,
--          notes (or '')
local answer, bytes = { 0 }, 0
local found = page_of(INDEX[ARGV[1]], ARGV[2] == 'rev', tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6], ARGV[7])
for i = 1, #found, 2 do
  local value, notes = redis.call('HGET', JOBS, found[i]) or '', redis.call('HGET', NOTES, found[i]) or ''
  answer[#answer + 1] = found[i]
  answer[#answer + 1] = found[i + 1]
  answer[#answer + 1] = value
  answer[#answer + 1] = notes
  bytes = bytes + #value + #notes
  if bytes > MOST_BYTES and i + 2 <= #found then
    answer[1] = 1
    break
  end
end
return answer
