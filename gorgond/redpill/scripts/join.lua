#!lua flags=allow-oom
--! epoch
-- Make a durable group of a topic, or change how much it keeps.
-- KEYS groups, limits, epoch of the group   ARGV group, limit, the epoch that stands ('': the first)
-- Returns {"ok", 1}, {"ok", 0} when it was so already, or {"stale", epoch that stands}: nothing was done.
-- A late copy is stale, or finds that it was so already.
-- Done even without memory: the group's consumer may be the one that empties it.
local limit = redis.call('HGET', KEYS[2], ARGV[1])
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 and limit == ARGV[2] then return {'ok', 0} end
if epoch_of(KEYS[3]) ~= ARGV[3] then return {'stale', epoch_of(KEYS[3])} end
redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('SADD', KEYS[1], ARGV[1])
return {'ok', 1}
