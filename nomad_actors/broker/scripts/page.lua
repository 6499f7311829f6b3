-- include: _queue _page
-- Reads a page of one state's jobs, going on where another page ended.
-- KEYS: 1 the queue's base
-- ARGV: 1 state, 2 'rev' for the highest score first, 3 how many, 4 and 5 score and id that it goes on after ('' for
--       neither), 6 and 7 the lowest and the highest score, 8 which of failed jobs: 'cancelled', 'failed' for those that
--       nobody cancelled, '' for all
-- Returns: 1 when there may be more of these than one answer takes, else 0; score and id of the last one that was looked
--          at ('' for none); then 4 a job: id, score, record, notes (or '')
-- How many cancelled ones one call passes over.
local MOST_PASSED_OVER = 1000
local index = ARGV[8] == 'cancelled' and CALLED_OFF or INDEX[ARGV[1]]
local count, without = tonumber(ARGV[3]), ARGV[8] == 'failed'
local most = without and MOST_PASSED_OVER or count
local answer, bytes, jobs = { 0, '', '' }, 0, 0
local found = page_of(index, ARGV[2] == 'rev', most, ARGV[4], ARGV[5], ARGV[6], ARGV[7])
if without and #found == 2 * most then answer[1] = 1 end
for i = 1, #found, 2 do
  local id, score = found[i], found[i + 1]
  answer[2], answer[3] = score, id
  if not (without and redis.call('ZSCORE', CALLED_OFF, id)) then
    local value, notes = redis.call('HGET', JOBS, id) or '', redis.call('HGET', NOTES, id) or ''
    for _, part in ipairs({ id, score, value, notes }) do answer[#answer + 1] = part end
    bytes, jobs = bytes + #value + #notes, jobs + 1
    if (bytes > MOST_BYTES or jobs == count) and i + 2 <= #found then
      answer[1] = 1
      break
    end
  end
end
return answer
