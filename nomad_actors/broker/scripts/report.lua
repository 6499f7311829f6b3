-- include: record queue clock
-- Stores the progress and the log lines of an active job.
-- KEYS: 1 the queue's base
-- ARGV: 1 id, 2 token, 3 number of the first line within this run, 4 progress (JSON, or '' as it was), then 2 a line:
--       when (ms), text
-- Returns: ok, or fenced (another worker has the lease)
-- Closes: a lost reply. Lines have numbers, so that none is stored twice.
-- Layout of an entry, read by nomad_actors/broker/records/notes.py: token, lines stored of it I4, lines dropped I4,
--   length of progress I4, progress, then a line each: when d, length I4, text
local MAX_LOG = 16384
local id, token, first, progress = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local lease = redis.call('HGET', KEY.active, id)
if not lease or string.sub(lease, 1, 14) ~= token then return 'fenced' end
local kept = redis.call('HGET', KEY.notes, id)
local seen_token, seen, dropped, old, log = token, 0, 0, '', ''
if kept and #kept >= 26 then
  local length, at
  seen_token, seen, dropped, length, at = struct.unpack('>c14I4I4I4', kept)
  old, log = string.sub(kept, at, at + length - 1), string.sub(kept, at + length)
  if seen_token ~= token then seen = 0 end
end
if progress == '' then progress = old end
for i = 5, #ARGV, 2 do
  local number = first + (i - 5) / 2
  if number > seen then
    log = log .. struct.pack('>dI4', tonumber(ARGV[i]), #ARGV[i + 1]) .. ARGV[i + 1]
    seen = number
  end
end
while #log > MAX_LOG do
  local _, length = struct.unpack('>dI4', log)
  log = string.sub(log, 13 + length)
  dropped = dropped + 1
end
-- Four bytes each. At the maximum, a repeat stores its lines twice.
seen, dropped = math.min(seen, 4294967295), math.min(dropped, 4294967295)
redis.call('HSET', KEY.notes, id, struct.pack('>c14I4I4I4', token, seen, dropped, #progress) .. progress .. log)
return 'ok'
