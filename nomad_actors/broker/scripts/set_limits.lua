-- include: record queue clock limits
-- Sets or removes limits of the queue.
-- KEYS: 1 the queue's base
-- ARGV: 2 a limit: its field of meta (`limit` and `limit_set`: concurrency over all hosts, as declared and as an operator
--       set it; `rate`: starts and the period (ms) in which they are counted; `max_length`: jobs that have not begun), its
--       value ('' removes it)
-- Returns: 1
for i = 1, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEY.meta, ARGV[i])
  else
    redis.call('HSET', KEY.meta, ARGV[i], ARGV[i + 1])
  end
  if ARGV[i] == 'rate' and ARGV[i + 1] == '' then redis.call('DEL', KEY.starts) end
end
if not is_paused(now_ms()) then wake() end
return 1
