#!lua flags=allow-oom
--! count
-- Delete one dead letter for good.
-- KEY dead: zremrangebyscore
-- KEY counts: hincrby hset
-- ARGV number of the letter
-- Returns 1, or 0 when there is none of that number.
-- A late copy finds none: a number is never given twice.
local DEAD, COUNTS = unpack(KEYS)
local NUMBER = ARGV[1]

local gone = redis.call('ZREMRANGEBYSCORE', DEAD, NUMBER, NUMBER)
if gone > 0 then count(COUNTS, 'dropped', 1) end
return gone
