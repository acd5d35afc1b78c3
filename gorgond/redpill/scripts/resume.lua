#!lua flags=allow-oom
--! clock epoch ring
-- Undo a pause; consumers that wait are served at once.
-- KEY queue: lmove renamenx
-- KEY held: exists lmove renamenx
-- KEY paused: del exists
-- KEY counts: hdel
-- KEY epoch: get incr
-- KEY turn: get set
-- KEY bell: llen rpush
-- ARGV the epoch that stands ('': the first)
-- Returns {"ok", 1}, {"ok", 0} when it was not paused, or {"stale", epoch that stands}: nothing was done.
-- A late copy is stale, or finds that it was not paused.
-- Messages that are held although the queue is not paused, since a process of before that key held them, come back too.
local QUEUE, HELD, PAUSED, COUNTS, EPOCH, TURN, BELL = unpack(KEYS)
local STANDS = ARGV[1]

if redis.call('EXISTS', PAUSED, HELD) == 0 then return {'ok', 0} end
if epoch_of(EPOCH) ~= STANDS then return {'stale', epoch_of(EPOCH)} end
redis.call('INCR', EPOCH)
redis.call('DEL', PAUSED)
redis.pcall('HDEL', COUNTS, 'paused')
if redis.call('EXISTS', HELD) == 1 and redis.call('RENAMENX', HELD, QUEUE) == 0 then
  -- Something was put there by hand, past the scripts.
  while redis.call('LMOVE', HELD, QUEUE, 'RIGHT', 'LEFT') do end
end
ring(TURN, BELL, math.huge)
return {'ok', 1}
