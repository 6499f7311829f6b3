-- Whether a job is as somebody found it: in that state, and not run since ('' for neither asks nothing).
local function as_found(id, state, token)
  if not state or state == '' then return true end
  if state_of(id) ~= state then return false end
  local record = unpack_record(redis.call('HGET', KEY.jobs, id))
  return not record or record.token == token
end
