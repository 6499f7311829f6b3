-- include: queue page
-- Reads a page of one state's jobs, continuing after another page.
-- KEYS: 1 the queue's base
-- ARGV: 1 state, 2 'rev' for the highest score first, 3 how many, 4 and 5 score and id to continue after ('' for the first
--       page), 6 and 7 the lowest and the highest score, 8 which failed jobs: 'cancelled', 'failed' for those that were not
--       cancelled, '' for all
-- Returns: 1 if there may be more than fit into one reply, else 0; score and id of the last scanned job, as given if there
--          is none; then 4 a job: id, score, record, notes (or '')
-- How many jobs one call scans if it skips cancelled ones, and how many per step.
local MAX_SCANNED, SCAN_STEP = 1000, 250
local index = ARGV[8] == 'cancelled' and KEY.cancelled or INDEX[ARGV[1]]
local rev, count, without = ARGV[2] == 'rev', tonumber(ARGV[3]), ARGV[8] == 'failed'
local reply, at, bytes, jobs, scanned, step = { 0, ARGV[4], ARGV[5] }, 3, 0, 0, 0, count
repeat
  local found = page_of(index, rev, step, reply[2], reply[3], ARGV[6], ARGV[7])
  local is_full = jobs == count
  for i = 1, #found, 2 do
    local id, score = found[i], found[i + 1]
    reply[2], reply[3] = score, id
    if not (without and redis.call('ZSCORE', KEY.cancelled, id)) then
      local value, notes = redis.call('HGET', KEY.jobs, id) or '', redis.call('HGET', KEY.notes, id) or ''
      reply[at + 1], reply[at + 2], reply[at + 3], reply[at + 4] = id, score, value, notes
      at, bytes, jobs = at + 4, bytes + #value + #notes, jobs + 1
      is_full = bytes > MOST_BYTES or jobs == count
      if is_full then
        if i + 2 <= #found then reply[1] = 1 end
        break
      end
    end
  end
  scanned = scanned + #found / 2
  local is_end = #found < 2 * step
  step = SCAN_STEP
  -- There may be more among those that were not scanned.
  if not is_end and not is_full and scanned >= MAX_SCANNED then reply[1] = 1 end
until not without or is_full or is_end or scanned >= MAX_SCANNED
return reply
