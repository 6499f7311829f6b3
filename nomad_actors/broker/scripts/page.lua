-- include: queue page
-- Reads a page of one state's jobs, going on where another page ended.
-- KEYS: 1 the queue's base
-- ARGV: 1 state, 2 'rev' for the highest score first, 3 how many, 4 and 5 score and id that it goes on after ('' for
--       neither), 6 and 7 the lowest and the highest score, 8 which of failed jobs: 'cancelled', 'failed' for those that
--       nobody cancelled, '' for all
-- Returns: 1 when there may be more of these than one answer takes, else 0; score and id of the last one that was looked
--          at, as given when that is none; then 4 a job: id, score, record, notes (or '')
-- How many one call looks at, where cancelled ones are passed over, and how many at once.
local MOST_LOOKED_AT, LOOK_STEP = 1000, 250
local index = ARGV[8] == 'cancelled' and KEY.cancelled or INDEX[ARGV[1]]
local rev, count, without = ARGV[2] == 'rev', tonumber(ARGV[3]), ARGV[8] == 'failed'
local answer, at, bytes, jobs, looked_at, step = { 0, ARGV[4], ARGV[5] }, 3, 0, 0, 0, count
repeat
  local found = page_of(index, rev, step, answer[2], answer[3], ARGV[6], ARGV[7])
  local is_full = jobs == count
  for i = 1, #found, 2 do
    local id, score = found[i], found[i + 1]
    answer[2], answer[3] = score, id
    if not (without and redis.call('ZSCORE', KEY.cancelled, id)) then
      local value, notes = redis.call('HGET', KEY.jobs, id) or '', redis.call('HGET', KEY.notes, id) or ''
      answer[at + 1], answer[at + 2], answer[at + 3], answer[at + 4] = id, score, value, notes
      at, bytes, jobs = at + 4, bytes + #value + #notes, jobs + 1
      is_full = bytes > MOST_BYTES or jobs == count
      if is_full then
        if i + 2 <= #found then answer[1] = 1 end
        break
      end
    end
  end
  looked_at = looked_at + #found / 2
  local is_end = #found < 2 * step
  step = LOOK_STEP
  -- What was not looked at may be more of them.
  if not is_end and not is_full and looked_at >= MOST_LOOKED_AT then answer[1] = 1 end
until not without or is_full or is_end or looked_at >= MOST_LOOKED_AT
return answer
