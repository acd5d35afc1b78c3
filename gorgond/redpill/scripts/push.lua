#!lua
--! held
-- Append a batch to a queue, once: a batch number that was seen is answered like the first time and changes nothing.
-- KEYS queue, producer, counts, held, memory   ARGV number of the batch, how many messages may wait, how many bytes of
--      memory they may take, message, …
-- Returns 1 accepted (now or before), 0 refused: it would take the queue over its limit.
-- A late copy has no effect, since its number was seen, whether it was accepted or refused; one below the last is of a
-- batch that was answered long ago. A producer's number is forgotten after a day of silence; a batch is repeated for
-- seconds.
-- What waits is measured seldom, since that takes a millisecond when it is much: `memory` keeps a bound of it, what was
-- measured last and what was pushed since. Only a batch that goes beyond it has it measured, and while the queue is
-- full ten times a second at most.
local seen, outcome = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (%d)$')
if seen and tonumber(seen) >= tonumber(ARGV[1]) then return tonumber(outcome) end

local waiting = waiting_list(KEYS[1], KEYS[4], KEYS[3])
local n, length = #ARGV - 3, redis.call('LLEN', waiting)

local function fits()
  if length + n > tonumber(ARGV[2]) then return false end
  if length == 0 then return true end
  local size, most = 0, tonumber(ARGV[3])
  for i = 4, #ARGV do size = size + #ARGV[i] end
  local bound = redis.call('HINCRBY', KEYS[5], 'bound', size)
  if bound <= most then return true end
  local time = redis.call('TIME')
  local now = string.format('%.0f', math.floor(time[1] * 10 + time[2] / 100000))
  if redis.call('HGET', KEYS[5], 'full') ~= now then
    bound = redis.call('MEMORY', 'USAGE', waiting, 'SAMPLES', 0) + size
    redis.call('HSET', KEYS[5], 'bound', bound)
    if bound <= most then return true end
    redis.call('HSET', KEYS[5], 'full', now)
  end
  redis.call('HINCRBY', KEYS[5], 'bound', -size)
  return false
end

local accepted = fits() and 1 or 0
if accepted == 1 then
  redis.call('RPUSH', waiting, unpack(ARGV, 4))
  redis.call('HINCRBY', KEYS[3], 'accepted', n)
end
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. accepted, 'EX', 86400)
return accepted
