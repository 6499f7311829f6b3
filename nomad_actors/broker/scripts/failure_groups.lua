-- include: record queue clock tags page
-- Reads why jobs failed, one entry for each failure group, the one seen last first.
-- KEYS: 1 the queue's base
-- ARGV: 1 how many, 2 and 3 score and term that it goes on after ('' for neither)
-- Returns: 4 a group: term, score, what is stored of it, how many failed jobs have it
local answer = {}
local found = page_of(KEY.failure_groups_seen, true, tonumber(ARGV[1]), ARGV[2], ARGV[3], '-inf', '+inf')
for i = 1, #found, 2 do
  local term = found[i]
  answer[#answer + 1] = term
  answer[#answer + 1] = found[i + 1]
  answer[#answer + 1] = redis.call('HGET', KEY.failure_groups, term) or ''
  answer[#answer + 1] = redis.call('ZLEXCOUNT', KEY.terms, '[' .. term, '(' .. term .. '\255')
end
return answer
