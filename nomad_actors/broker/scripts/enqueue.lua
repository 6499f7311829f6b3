-- include: _record _queue _add
-- Adds jobs: – → waiting or delayed.
-- KEYS: 1 the queue's base
-- ARGV: 6 a job: id, call (8 bytes), priority, delay (ms), created (ms), body
-- Returns: 2 a job: its state, 1 when this call put it there
-- Closes: a lost reply looks like a failure; the repeated call carries the same `call` and adds nothing.
local now, added, answer = now_ms(), false, {}
for i = 1, #ARGV, 6 do
  local state, new = add(now, ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]),
    tonumber(ARGV[i + 4]), ARGV[i + 5])
  added = added or (new == 1 and state == 'waiting')
  answer[#answer + 1] = state
  answer[#answer + 1] = new
end
if added and redis.call('HEXISTS', META, 'paused') == 0 then wake() end
return answer
