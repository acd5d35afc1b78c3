#!lua
--! held
-- Append a batch to a queue, once: a batch number that was seen is answered like the first time and changes nothing.
-- KEYS queue, producer, counts, held   ARGV number of the batch, limit, message, …
-- Returns 1 accepted (now or before), 0 refused: it would take the queue over its limit.
-- A late copy has no effect, since its number was seen, whether it was accepted or refused; one below the last is of a
-- batch that was answered long ago. A producer's number is forgotten after a day of silence; a batch is repeated for
-- seconds.
local seen, outcome = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (%d)$')
if seen and tonumber(seen) >= tonumber(ARGV[1]) then return tonumber(outcome) end
local n = #ARGV - 2
local waiting = waiting_list(KEYS[1], KEYS[4], KEYS[3])
local accepted = redis.call('LLEN', waiting) + n <= tonumber(ARGV[2]) and 1 or 0
if accepted == 1 then
  redis.call('RPUSH', waiting, unpack(ARGV, 3))
  redis.call('HINCRBY', KEYS[3], 'accepted', n)
end
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. accepted, 'EX', 86400)
return accepted
