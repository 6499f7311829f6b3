-- include: queue
-- Sets how many ended jobs the queue keeps, and for how long.
-- KEYS: 1 the queue's base
-- ARGV: 1 completed jobs, 2 for how long (ms), 3 failed jobs, 4 for how long (ms)
-- Returns: 1
redis.call('HSET', KEY.meta, 'keep',
  struct.pack('>I4dI4d', tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])))
return 1
