-- include: queue
-- Reads one job.
-- KEYS: 1 the queue's base
-- ARGV: 1 id
-- Returns: state, record, lease (or ''), notes (or ''); nothing if there is no such job
local id = ARGV[1]
local state = state_of(id)
if not state then return {} end
return { state, redis.call('HGET', KEY.jobs, id) or '', redis.call('HGET', KEY.active, id) or '',
  redis.call('HGET', KEY.notes, id) or '' }
