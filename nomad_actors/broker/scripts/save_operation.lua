-- include: queue
-- Saves the record of a bulk operation, if it has not changed since the caller read it.
-- KEYS: 1 the queue's base
-- ARGV: 1 the operation's id, 2 the revision that the caller read (0 for none), 3 the record as JSON (with its own
--       `revision` and `change`), or '' to delete it
-- Returns: ok or changed, then the stored record ('' for none)
-- Closes: two processes that run one operation, or one that runs it and an operator who stops it. A repeated call finds its
--         own change and returns ok.
-- After a write that frees memory, a full Redis accepts the next one; such operations can free its memory.
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
