-- Whether a job is still as a caller found it.
-- KEYS: jobs
-- ARGV: none
-- Returns: as_found(id, state, token) → true if it is in that state and has not run since ('' asks nothing)
local function as_found(id, state, token)
  if not state or state == '' then return true end
  if state_of(id) ~= state then return false end
  local record = unpack_record(redis.call('HGET', KEY.jobs, id))
  return not record or record.token == token
end
