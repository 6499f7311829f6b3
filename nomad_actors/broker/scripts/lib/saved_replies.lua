-- The answers of an operator's scripts, kept for a while under the number of the call: when a reply was lost, the repeat is
-- told what the first one did, and does nothing.
local ANSWER_MS = 60000

-- What the call was answered; nil when it has not come yet, or has no number.
local function answered(call)
  local told = call and call ~= '' and redis.call('GET', KEY.reply(call))
  return told and cmsgpack.unpack(told) or nil
end

-- Keeps an answer and returns it. Something was done: a full Redis may refuse this, and the call has had its effect.
local function answer_with(call, answer)
  if call and call ~= '' then redis.pcall('SET', KEY.reply(call), cmsgpack.pack(answer), 'PX', ANSWER_MS) end
  return answer
end
