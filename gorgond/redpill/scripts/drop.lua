#!lua flags=allow-oom
-- Delete one dead letter for good.
-- KEYS dead, counts   ARGV number of the letter
-- Returns 1, or 0 when there is none of that number.
-- A late copy finds none: a number is never given twice.
local gone = redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])
if gone > 0 then redis.call('HINCRBY', KEYS[2], 'dropped', 1) end
return gone
