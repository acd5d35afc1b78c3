#!lua flags=allow-oom
--! epoch
-- Consumers take nothing more from a queue until it is resumed: what waits, and what comes, lies apart.
-- KEYS queue, held, counts, epoch   ARGV the epoch that stands ('': the first)
-- Returns {"ok", 1}, {"ok", 0} when it was paused already, or {"stale", epoch that stands}: nothing was done.
-- A late copy is stale, or finds that it was paused already.
if redis.call('HGET', KEYS[3], 'paused') then return {'ok', 0} end
if epoch_of(KEYS[4]) ~= ARGV[1] then return {'stale', epoch_of(KEYS[4])} end
redis.call('INCR', KEYS[4])
redis.call('HSET', KEYS[3], 'paused', 1)
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end
return {'ok', 1}
