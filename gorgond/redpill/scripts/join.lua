#!lua flags=allow-oom
--! epoch
-- Make a durable group of a topic, or change how much it keeps.
-- KEY groups: sadd sismember
-- KEY limits: hget hset
-- KEY epoch: get incr
-- ARGV group, limit, the epoch that stands ('': the first)
-- Returns {"ok", 1} when there was no such group, {"ok", 0} when there was one, or {"stale", epoch that stands}: nothing
-- was done.
-- A late copy is stale, or finds that it was so already.
-- Done even without memory: the group's consumer may be the one that empties it.
local GROUPS, LIMITS, EPOCH = unpack(KEYS)
local GROUP, LIMIT, STANDS = ARGV[1], ARGV[2], ARGV[3]

local new = 1 - redis.call('SISMEMBER', GROUPS, GROUP)
if new == 0 and redis.call('HGET', LIMITS, GROUP) == LIMIT then return {'ok', 0} end
if epoch_of(EPOCH) ~= STANDS then return {'stale', epoch_of(EPOCH)} end
redis.call('INCR', EPOCH)
redis.call('HSET', LIMITS, GROUP, LIMIT)
redis.call('SADD', GROUPS, GROUP)
return {'ok', new}
