#!lua flags=allow-oom
--! epoch
-- Consumers take nothing more from a queue until it is resumed: what waits, and what comes, lies apart.
-- KEY queue: exists lmove rename
-- KEY held: exists lmove rename
-- KEY paused: exists set
-- KEY counts: hset
-- KEY epoch: get incr
-- ARGV the epoch that stands ('': the first)
-- Returns {"ok", 1}, {"ok", 0} when it was paused already, or {"stale", epoch that stands}: nothing was done.
-- A late copy is stale, or finds that it was paused already.
local QUEUE, HELD, PAUSED, COUNTS, EPOCH = unpack(KEYS)
local STANDS = ARGV[1]

if redis.call('EXISTS', PAUSED) == 1 then return {'ok', 0} end
if epoch_of(EPOCH) ~= STANDS then return {'stale', epoch_of(EPOCH)} end
redis.call('INCR', EPOCH)
redis.call('SET', PAUSED, 1)
redis.pcall('HSET', COUNTS, 'paused', 1) -- where processes of before this key look
if redis.call('EXISTS', QUEUE) == 1 then
  if redis.call('EXISTS', HELD) == 0 then
    redis.call('RENAME', QUEUE, HELD)
  else -- as when a process of before this key has paused it
    while redis.call('LMOVE', QUEUE, HELD, 'LEFT', 'RIGHT') do end
  end
end
return {'ok', 1}
