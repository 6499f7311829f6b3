-- Tries every command that our scripts use, on keys for this test, and removes the keys.
-- KEYS: 1 the queue's base
-- ARGV: none
-- Returns: 2 a command that failed: its name, the error
local HASH, LIST, SORTED = KEY.probe('hash'), KEY.probe('list'), KEY.probe('sorted')
local LEX, TEXT = KEY.probe('lex'), KEY.probe('text')
local failed = {}

local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    failed[#failed + 1] = (...)
    failed[#failed + 1] = reply.err
  end
end

try('TIME')
try('SET', TEXT, '1', 'PX', 10000)
try('GET', TEXT)
try('EXISTS', TEXT)
try('PEXPIRE', TEXT, 10000)
try('PERSIST', TEXT)
try('HSET', HASH, 'a', '1')
try('HSETNX', HASH, 'b', '1')
try('HINCRBY', HASH, 'a', 1)
try('HGET', HASH, 'a')
try('HMGET', HASH, 'a', 'b')
try('HGETALL', HASH)
try('HVALS', HASH)
try('HEXISTS', HASH, 'a')
try('HSTRLEN', HASH, 'a')
try('HLEN', HASH)
try('HDEL', HASH, 'b')
try('RPUSH', LIST, '1', '2')
try('LLEN', LIST)
try('LINDEX', LIST, 0)
try('LRANGE', LIST, 0, 1)
try('LREM', LIST, 1, '2')
try('LTRIM', LIST, 0, 0)
try('ZADD', SORTED, 1, 'a')
try('ZCARD', SORTED)
try('ZCOUNT', SORTED, 0, 2)
try('ZSCORE', SORTED, 'a')
try('ZRANGE', SORTED, 0, 1)
try('ZRANGEBYSCORE', SORTED, 0, 2)
try('ZREM', SORTED, 'a')
try('ZADD', LEX, 0, 'a')
try('ZLEXCOUNT', LEX, '-', '+')
try('ZREVRANGEBYLEX', LEX, '+', '-')
try('DEL', HASH, SORTED, LEX)
try('UNLINK', TEXT, LIST, HASH, SORTED, LEX)
return failed
