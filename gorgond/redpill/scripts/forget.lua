#!lua flags=allow-oom
--! epoch
-- A durable group is no more: it gets no further events, and those it has are deleted.
-- KEY groups: sismember srem
-- KEY limits: hdel
-- KEY epoch: get incr
-- KEY queue: del exists
-- KEY held: del exists
-- KEY paused: del
-- KEY delayed: del
-- KEY dead: del
-- KEY consumers: del exists hkeys
-- KEY counts: del
-- KEY pushed: del exists
-- KEY memory: del
-- KEY watched: del
-- KEY turn: del
-- KEY bell: del
-- MAKES desk: del
-- ARGV group, what a desk's key starts with, the epoch that stands ('': the first)
-- Returns {"ok", 1}, {"ok", 0} when there was none, or {"stale", epoch that stands}: nothing was done.
-- A late copy is stale, or finds that there is none: a group that was joined again loses nothing. So its epoch stays.
local GROUPS, LIMITS, EPOCH, QUEUE, HELD, PAUSED, DELAYED, DEAD, CONSUMERS, COUNTS, PUSHED, MEMORY, WATCHED, TURN, BELL = unpack(KEYS)
local GROUP, DESKS, STANDS = ARGV[1], ARGV[2], ARGV[3]

local known = redis.call('SISMEMBER', GROUPS, GROUP) + redis.call('EXISTS', QUEUE, HELD, CONSUMERS, PUSHED)
if known == 0 then return {'ok', 0} end
if epoch_of(EPOCH) ~= STANDS then return {'stale', epoch_of(EPOCH)} end
redis.call('INCR', EPOCH)
redis.call('SREM', GROUPS, GROUP)
redis.call('HDEL', LIMITS, GROUP)
for _, consumer in ipairs(redis.call('HKEYS', CONSUMERS)) do redis.call('DEL', DESKS .. consumer) end
redis.call('DEL', QUEUE, HELD, PAUSED, DELAYED, DEAD, CONSUMERS, COUNTS, PUSHED, MEMORY, WATCHED, TURN, BELL)
return {'ok', 1}
