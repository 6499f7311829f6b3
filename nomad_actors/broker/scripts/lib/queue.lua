-- Small steps that several transitions share.
-- KEYS: 1 the queue's base; KEY.<name> and INDEX[<state>] are made from keys.py by the loader
-- ARGV: none
-- Returns: state_of(id) → state or nil, unpack_lease(value) → token, start, score, reason of a cancel;
--          decoded(text) → table or nil, wake(), append_waiting(id, priority), append(list, …)
-- constants: PRIORITY_STEP

-- A job is in the state whose index has its id; an id that is in no index is not a job.
local function state_of(id)
  if redis.call('HEXISTS', KEY.active, id) == 1 then return 'active' end
  for state, index in pairs(INDEX) do
    if redis.call('ZSCORE', index, id) then return state end
  end
  return nil
end

-- Decodes stored JSON; nil if it is not an object: a value that somebody edited by hand must stop no script.
local function decoded(text)
  local readable, value = pcall(cjson.decode, text or '')
  return readable and type(value) == 'table' and value or nil
end

-- A lease: token, start time, score in waiting, and the reason of a cancel ('' for none). One that cannot be read belongs
-- to no worker: its job goes back to waiting.
local LEASE_SIZE = 30
local function unpack_lease(value)
  if #value < LEASE_SIZE then return string.rep('\0', 14), 0, 0, '' end
  local token, started, score = struct.unpack('>c14dd', value)
  return token, started, score, string.sub(value, LEASE_SIZE + 1)
end

local function pack_lease(token, started, score, cancel)
  return struct.pack('>c14dd', token, started, score) .. cancel
end

-- Appends values to a list, as a reply or the arguments of a command.
local function append(list, ...)
  for i = 1, select('#', ...) do list[#list + 1] = (select(i, ...)) end
end

-- One token wakes one idle worker, which passes it on if it cannot take all jobs.
local function wake()
  if redis.call('LLEN', KEY.wake) == 0 then redis.call('RPUSH', KEY.wake, '1') end
end

-- Adds a job at the end of its priority: within a priority, jobs start in the order of adding.
local function append_waiting(id, priority)
  -- After 2^40 jobs the numbers restart, so that none reaches into the next priority.
  local seq = redis.call('HINCRBY', KEY.meta, 'seq', 1) % PRIORITY_STEP
  redis.call('ZADD', KEY.waiting, priority * PRIORITY_STEP + seq, id)
end
