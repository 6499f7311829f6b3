-- What operators' calls share. Their replies are saved for a minute by the call's number: a repeated call gets the first
-- one's reply, and changes nothing.
-- KEYS: reply, jobs
-- ARGV: none
-- Returns: reply_to(call) → the saved reply or nil, save_reply(call, reply) → reply;
--          as_found(id, state, token) → true if the job is in that state and has not run since, or if state is ''
local REPLY_MS = 60000

-- The saved reply of a call; nil if this is the first call with this number, or it has no number.
local function reply_to(call)
  local reply = call and call ~= '' and redis.call('GET', KEY.reply(call))
  return reply and cmsgpack.unpack(reply) or nil
end

-- A full Redis may refuse to save the reply; the call has had its effect anyway.
local function save_reply(call, reply)
  if call and call ~= '' then redis.pcall('SET', KEY.reply(call), cmsgpack.pack(reply), 'PX', REPLY_MS) end
  return reply
end

local function as_found(id, state, token)
  if not state or state == '' then return true end
  if state_of(id) ~= state then return false end
  local record = unpack_record(redis.call('HGET', KEY.jobs, id))
  return not record or record.token == token
end
