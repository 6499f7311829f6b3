-- A job's record: packs and unpacks it, and appends events to its story. broker/records/__init__.py has the same layout;
-- change both or neither.
-- KEYS, ARGV: none
-- Returns: unpack_record(value) → record or nil, pack_record(record) → value, event(kind, ms, data) → bytes,
--          append_events(record, events), body_at(value) → position, and the flags and kinds of events
local HEADER = '>BhHBBddddc8c14I4'
local HEADER_SIZE = 65
local EVENT_SIZE = 13
local CRASHES_AT = 6
-- constants: MAX_ATTEMPTS MAX_CRASHES_KEPT
local ENQUEUED, STARTED, ERROR, RETRY, COMPLETED, FAILED, RELEASED, PROMOTED, CUT, SKIPPED =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local DEFERRED, CANCELLED, RECOVERED, LATE = 11, 12, 13, 14
local FLAG_SKIPPED, FLAG_CANCELLED, FLAG_FAILURE_GROUP = 1, 4, 8
local NO_TOKEN = string.rep('\0', 14)
-- A longer story loses its oldest events, which a CUT event counts.
local MAX_STORY = 32768

-- Where the body of a record begins: after its tags, which a record of version 1 does not have. Returns nil if the value is
-- not a record.
local function body_at(value)
  if not value or #value < HEADER_SIZE then return nil end
  local version = string.byte(value)
  if version == 1 then return HEADER_SIZE + 1 end
  if version ~= 2 or #value == HEADER_SIZE then return nil end
  return HEADER_SIZE + 2 + string.byte(value, HEADER_SIZE + 1)
end

-- Returns nil if the value is not a record.
local function unpack_record(value)
  local at = body_at(value)
  if not at then return nil end
  local r = {}
  local _, length
  _, r.priority, r.attempts, r.crashes, r.flags, r.created, r.ready, r.started, r.finished,
    r.call, r.token, length = struct.unpack(HEADER, value)
  if #value < at - 1 + length then return nil end
  r.tags = string.sub(value, HEADER_SIZE + 2, at - 1)
  r.body = string.sub(value, at, at - 1 + length)
  r.story = string.sub(value, at + length)
  return r
end

local function pack_record(r)
  local tagged = #r.tags > 0
  return struct.pack(HEADER, tagged and 2 or 1, r.priority, r.attempts, r.crashes, r.flags, r.created, r.ready,
    r.started, r.finished, r.call, r.token, #r.body) .. (tagged and string.char(#r.tags) .. r.tags or '') ..
    r.body .. r.story
end

local function has_flag(record, flag)
  return math.floor(record.flags / flag) % 2 == 1
end

local function set_flag(record, flag)
  if not has_flag(record, flag) then record.flags = record.flags + flag end
end

local function drop_flag(record, flag)
  if has_flag(record, flag) then record.flags = record.flags - flag end
end

local function event(kind, at, data)
  return struct.pack('>BdI4', kind, at, #data) .. data
end

-- Appends events to a story and bounds it: the oldest are dropped and counted by a CUT event. New events are never cut: a
-- result may be longer than the rest of the story.
local function append_events(r, events)
  local story, room = r.story, math.max(0, MAX_STORY - #events)
  if #story <= room then
    r.story = story .. events
    return
  end
  local dropped, at, first_at = 0, 1, nil
  while #story - at + 1 > math.max(room, EVENT_SIZE - 1) do
    local kind, when, length, data_at = struct.unpack('>BdI4', story, at)
    first_at = first_at or when
    if kind == CUT then
      dropped = dropped + (tonumber(string.sub(story, data_at, data_at + length - 1)) or 0)
    else
      dropped = dropped + 1
    end
    at = at + EVENT_SIZE + length
  end
  r.story = event(CUT, first_at, tostring(dropped)) .. string.sub(story, at) .. events
end
