#!lua flags=allow-oom
--! epoch
-- Undo a pause; consumers that wait are served at once.
-- KEYS queue, held, counts, epoch   ARGV the epoch that stands ('': the first)
-- Returns {"ok", 1}, {"ok", 0} when it was not paused, or {"stale", epoch that stands}: nothing was done.
-- A late copy is stale, or finds that it was not paused.
if not redis.call('HGET', KEYS[3], 'paused') then return {'ok', 0} end
if epoch_of(KEYS[4]) ~= ARGV[1] then return {'stale', epoch_of(KEYS[4])} end
redis.call('INCR', KEYS[4])
redis.call('HDEL', KEYS[3], 'paused')
if redis.call('EXISTS', KEYS[2]) == 1 and redis.call('RENAMENX', KEYS[2], KEYS[1]) == 0 then
  -- Something was put there by hand, past the scripts.
  while redis.call('LMOVE', KEYS[2], KEYS[1], 'RIGHT', 'LEFT') do end
end
return {'ok', 1}
