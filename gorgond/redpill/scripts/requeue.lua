#!lua flags=allow-oom
--! attempts clock count held ring
-- Put one dead letter back at the end of its queue, its attempts forgotten.
-- KEY queue: rpush
-- KEY held: rpush
-- KEY paused: exists
-- KEY dead: zrangebyscore zrem
-- KEY counts: hincrby hset
-- KEY turn: get set
-- KEY bell: llen rpush
-- ARGV number of the letter
-- Returns 1, or 0 when there is none of that number.
-- A late copy finds none: a message that is given up again gets another number.
local QUEUE, HELD, PAUSED, DEAD, COUNTS, TURN, BELL = unpack(KEYS)
local NUMBER = ARGV[1]

local found = redis.call('ZRANGEBYSCORE', DEAD, NUMBER, NUMBER)
if #found == 0 then return 0 end
local raw = string.sub(found[1], string.find(found[1], '\n', 1, true) + 1)
if string.sub(raw, 1, 12) == PREFIX then raw = string.gsub(raw, '^{"attempts":%d+,', '{', 1) end
redis.call('RPUSH', waiting_list(QUEUE, HELD, PAUSED), raw)
redis.call('ZREM', DEAD, found[1])
count(COUNTS, 'requeued', 1)
ring(TURN, BELL, 1)
return 1
