#!lua flags=allow-oom
--! epoch
-- No further events for a durable group; those it has stay.
-- KEY groups: sismember srem
-- KEY epoch: get incr
-- ARGV group, the epoch that stands ('': the first)
-- Returns {"ok", 1}, {"ok", 0} when there was none, or {"stale", epoch that stands}: nothing was done.
-- A late copy is stale, or finds that there is none: a group that was joined again loses nothing.
local GROUPS, EPOCH = unpack(KEYS)
local GROUP, STANDS = ARGV[1], ARGV[2]

if redis.call('SISMEMBER', GROUPS, GROUP) == 0 then return {'ok', 0} end
if epoch_of(EPOCH) ~= STANDS then return {'stale', epoch_of(EPOCH)} end
redis.call('INCR', EPOCH)
redis.call('SREM', GROUPS, GROUP)
return {'ok', 1}
