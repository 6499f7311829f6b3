-- include: _queue
-- Sets or lifts how many jobs of the queue may run at a time over all hosts.
-- KEYS: 1 the queue's base
-- ARGV: 1 the limit, or '' for none
if ARGV[1] == '' then
  redis.call('HDEL', META, 'limit')
else
  redis.call('HSET', META, 'limit', ARGV[1])
end
if redis.call('HEXISTS', META, 'paused') == 0 then wake() end
return 1
