-- include: record queue clock limits tags slots next add bulk
-- Adds one part of a committed bulk: – → waiting or delayed.
-- KEYS: 1 the queue's base
-- ARGV: 1 the bulk's id, 2 the part's number, 3 '1' for the last one
-- Returns: 3 a job as `enqueue`; nothing for a part that a heartbeat has added
-- Closes: a lost reply; of a part that was added before, only the states are read.
local reply = add_part(now_ms(), ARGV[1], tonumber(ARGV[2]))
if ARGV[3] == '1' then finish_bulk(ARGV[1]) end
return reply
