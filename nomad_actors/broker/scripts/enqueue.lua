-- include: record queue clock limits tags slots next add max_length
-- Adds jobs: – → waiting or delayed.
-- KEYS: 1 the queue's base
-- ARGV: 1 '1' when a full queue refuses ('' for what a run enqueues: that must not be lost), then 7 a job: id, call (8 bytes), priority, delay (ms), created (ms), body, extra (_add)
-- Returns: 3 a job: its state, 1 when this call put it there, the id of the job that stands in its place (or ''); or
--          'full' and how many jobs may wait; or 'asked' and the id of the job that the caller's key was used for
-- Closes: a lost reply looks like a failure; the repeated call carries the same `call` and adds nothing. Refused jobs are
--         refused before the first write: all are added or none.
local now, added, answer = now_ms(), false, {}
local refused = ARGV[1] == '1' and refuse(2, (#ARGV - 1) / 7)
if refused then return refused end
for i = 2, #ARGV, 7 do
  local state, new, standing = add(now, ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]),
    tonumber(ARGV[i + 4]), ARGV[i + 5], ARGV[i + 6])
  added = added or (new == 1 and state == 'waiting')
  answer[#answer + 1] = state
  answer[#answer + 1] = new
  answer[#answer + 1] = standing
end
if added and not is_paused(now) then wake() end
return answer
