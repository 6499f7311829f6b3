-- include: _record _queue
-- Says that a worker lives and serves this queue, when it has nothing else to say.
-- KEYS: 1 the queue's base
-- ARGV: 1 worker id, 2 its name; 3 'leave' when it goes
-- Returns: 1
local worker = ARGV[1]
if ARGV[3] == 'leave' then
  redis.call('HDEL', WORKERS, worker)
  return 1
end
local seen = redis.call('HGET', WORKERS, worker)
local last = seen and select(2, struct.unpack('>dI4', seen)) or 0
redis.call('HSET', WORKERS, worker, struct.pack('>dI4', now_ms(), last) .. ARGV[2])
return 1
