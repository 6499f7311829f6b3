-- include: record queue clock tags page
-- Reads failure groups, the last seen first.
-- KEYS: 1 the queue's base
-- ARGV: 1 how many, 2 and 3 score and term to continue after ('' for the first page)
-- Returns: 4 a group: term, score, its stored value, how many failed jobs have it
local reply = {}
local found = page_of(KEY.failure_groups_seen, true, tonumber(ARGV[1]), ARGV[2], ARGV[3], '-inf', '+inf')
for i = 1, #found, 2 do
  local term = found[i]
  local stored = redis.call('HGET', KEY.failure_groups, term) or ''
  append(reply, term, found[i + 1], stored, redis.call('ZLEXCOUNT', KEY.terms, '[' .. term, '(' .. term .. '\255'))
end
return reply
