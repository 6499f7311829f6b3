-- A worker's entry: its last heartbeat, its last request, and for how long reaper ticks missed it.
-- KEYS, ARGV: none
-- Returns: unpack_mark(value) → mark or nil, pack_mark(mark) → value, is_ahead(request, of)
local MARK = '>dI4d'
local MARK_SIZE = 20

-- Requests are counted in four bytes and then restart: a request is ahead of another by less than half of that range.
-- constants: REQUESTS
local function is_ahead(request, of)
  local by = (request - of) % REQUESTS
  return by > 0 and by < REQUESTS / 2
end

local function unpack_mark(value)
  if not value or #value < MARK_SIZE then return nil end
  local heard, request, missed = struct.unpack(MARK, value)
  return { heard = heard, request = request, missed = missed, name = string.sub(value, MARK_SIZE + 1) }
end

local function pack_mark(mark)
  return struct.pack(MARK, mark.heard, mark.request, mark.missed) .. mark.name
end
