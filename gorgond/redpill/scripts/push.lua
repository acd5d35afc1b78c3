#!lua
--! held
-- Append a batch to a queue, once: a batch number that was seen is answered like the first time and changes nothing.
-- KEYS queue, producer, counts, held   ARGV number of the batch, limit, message, …
-- Returns 1 accepted (now or before), 0 refused: it would take the queue over its limit.
-- A producer's number is forgotten after a day of silence; a batch is repeated for seconds.
local seen = redis.call('GET', KEYS[2])
if seen and tonumber(seen) >= tonumber(ARGV[1]) then return 1 end
local n = #ARGV - 2
local waiting = waiting_list(KEYS[1], KEYS[4], KEYS[3])
if redis.call('LLEN', waiting) + n > tonumber(ARGV[2]) then return 0 end
redis.call('RPUSH', waiting, unpack(ARGV, 3))
redis.call('SET', KEYS[2], ARGV[1], 'EX', 86400)
redis.call('HINCRBY', KEYS[3], 'accepted', n)
return 1
