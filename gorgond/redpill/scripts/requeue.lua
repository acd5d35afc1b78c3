#!lua flags=allow-oom
--! attempts held
-- Put one dead letter back at the end of its queue, its attempts forgotten.
-- KEYS queue, dead, counts, held   ARGV number of the letter
-- Returns 1, or 0 when there is none of that number.
-- A late copy finds none: a message that is given up again gets another number.
local found = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[1], ARGV[1])
if #found == 0 then return 0 end
local raw = string.sub(found[1], string.find(found[1], '\n', 1, true) + 1)
if string.sub(raw, 1, 12) == PREFIX then raw = string.gsub(raw, '^{"attempts":%d+,', '{', 1) end
redis.call('RPUSH', waiting_list(KEYS[1], KEYS[4], KEYS[3]), raw)
redis.call('ZREM', KEYS[2], found[1])
redis.call('HINCRBY', KEYS[3], 'requeued', 1)
return 1
