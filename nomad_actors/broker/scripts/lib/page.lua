-- One page of a sorted set, continuing after an entry that may be gone: (score, member) is a position even then.
-- KEYS, ARGV: none
-- Returns: page_of(key, rev, count, score, member, low, high) → members and scores in turns, MOST_BYTES
-- A script that reads jobs stops at this size and reports it, because Redis serves no other client meanwhile.
local MOST_BYTES = 262144
-- How many entries of one score are scanned to find the position of one that is gone.
local MOST_TIES = 1000

-- How many entries precede a position.
local function position_of(key, rev, score, member)
  local rank = redis.call(rev and 'ZREVRANK' or 'ZRANK', key, member)
  if rank and redis.call('ZSCORE', key, member) == score then return rank + 1 end
  local before = rev and redis.call('ZCOUNT', key, '(' .. score, '+inf') or redis.call('ZCOUNT', key, '-inf', '(' .. score)
  local command = rev and 'ZREVRANGEBYSCORE' or 'ZRANGEBYSCORE'
  for _, each in ipairs(redis.call(command, key, score, score, 'LIMIT', 0, MOST_TIES)) do
    if (rev and each <= member) or (not rev and each >= member) then break end
    before = before + 1
  end
  return before
end

-- Members and their scores in turns; from the score `low` to `high`, after a position ('' for the first page).
local function page_of(key, rev, count, score, member, low, high)
  local first = rev and redis.call('ZCOUNT', key, '(' .. high, '+inf') or redis.call('ZCOUNT', key, '-inf', '(' .. low)
  if score ~= '' then first = math.max(first, position_of(key, rev, score, member)) end
  local found = redis.call(rev and 'ZREVRANGE' or 'ZRANGE', key, first, first + count - 1, 'WITHSCORES')
  local last = #found
  while last > 0 do
    local at = tonumber(found[last])
    if at >= tonumber(low == '-inf' and -math.huge or low) and at <= tonumber(high == '+inf' and math.huge or high) then
      break
    end
    found[last], found[last - 1] = nil, nil
    last = last - 2
  end
  return found
end
