-- include: record queue clock limits tags slots next add bulk
-- Commits a bulk whose jobs are stored in parts: from now on they will be added, even if the caller dies.
-- KEYS: 1 the queue's base
-- ARGV: 1 the bulk's id, 2 how many parts, 3 how many jobs
-- Returns: ok, gone (not all parts are there any more), or full and how many jobs may wait
-- Closes: a lost reply; a repeat finds it committed or done.
local id, parts, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local key, now = KEY.bulk(id), now_ms()
if redis.call('HEXISTS', key, 'next') == 1 or redis.call('EXISTS', KEY.bulk_done(id)) == 1 then return { 'ok' } end
local refused = redis.call('HLEN', key) ~= parts and { 'gone' } or too_many(count)
if refused then
  redis.call('UNLINK', key)
  return refused
end
redis.call('HSET', key, 'next', 0, 'parts', parts, 'left', count, 'touched', string.format('%.0f', now))
redis.call('PERSIST', key)
redis.call('RPUSH', KEY.bulks, id)
return { 'ok' }
