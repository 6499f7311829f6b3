-- Checks that a job has not changed since a caller found it.
-- KEYS: jobs
-- ARGV: none
-- Returns: as_found(id, state, token) → true if it is in that state and has not run since, or if state is ''
local function as_found(id, state, token)
  if not state or state == '' then return true end
  if state_of(id) ~= state then return false end
  local record = unpack_record(redis.call('HGET', KEY.jobs, id))
  return not record or record.token == token
end
