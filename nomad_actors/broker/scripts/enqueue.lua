-- include: record queue clock limits tags slots next add
-- Adds jobs: – → waiting or delayed.
-- KEYS: 1 the queue's base
-- ARGV: 1 '1' if a full queue refuses them ('' for jobs that a run enqueues, which must not be lost), then the fields of
--       each job (lib/add.lua)
-- Returns: 3 a job: its state, 1 if this call put it there, the id of the job that is there instead (or ''); or
--          'full' and how many jobs may wait; or 'asked' and the id of the job that the idempotency key was used for
-- Closes: a lost reply looks like a failure; the repeated call has the same `call` and adds nothing. Jobs are refused
--         before the first write: all are added or none.
local now, added, reply = now_ms(), false, {}
local refused = ARGV[1] == '1' and refuse(2, (#ARGV - 1) / JOB_FIELDS)
if refused then return refused end
for at = 2, #ARGV, JOB_FIELDS do
  local state, new, other = add_from(now, at)
  added = added or (new == 1 and state == 'waiting')
  append(reply, state, new, other)
end
if added and not is_paused(now) then wake() end
return reply
