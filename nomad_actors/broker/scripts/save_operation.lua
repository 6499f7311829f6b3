-- include: queue
-- Keeps the record of a bulk operation, if it is still what the caller has seen.
-- KEYS: 1 the queue's base
-- ARGV: 1 the operation's id, 2 the revision that the caller has seen (0 for none), 3 the record as JSON (with its own
--       `revision` and `change`), or '' to drop it
-- Returns: ok or changed, then the record as it stands ('' for none)
-- Closes: two processes that run one operation, or one that runs it and an operator who stops it. A repeated call finds its
--         own change there and is told ok.
-- A write that frees: a full Redis takes what comes after it, and is made room in by such operations.
redis.call('HDEL', KEY.operations, '')
local id, seen, text = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local stored = redis.call('HGET', KEY.operations, id)
local old = stored and decoded(stored)
if text == '' then
  if old and old.revision ~= seen then return { 'changed', stored } end
  redis.call('HDEL', KEY.operations, id)
  return { 'ok', '' }
end
if old and old.change == cjson.decode(text).change then return { 'ok', stored } end
if (old and old.revision or 0) ~= seen then return { 'changed', stored or '' } end
redis.call('HSET', KEY.operations, id, text)
return { 'ok', text }
