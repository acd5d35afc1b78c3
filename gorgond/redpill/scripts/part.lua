#!lua flags=allow-oom
--! epoch
-- No further events for a durable group; those it has stay.
-- KEYS groups, epoch of the group   ARGV group, the epoch that stands ('': the first)
-- Returns {"ok", 1}, {"ok", 0} when there was none, or {"stale", epoch that stands}: nothing was done.
-- A late copy is stale, or finds that there is none: a group that was joined again loses nothing.
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return {'ok', 0} end
if epoch_of(KEYS[2]) ~= ARGV[2] then return {'stale', epoch_of(KEYS[2])} end
redis.call('INCR', KEYS[2])
redis.call('SREM', KEYS[1], ARGV[1])
return {'ok', 1}
