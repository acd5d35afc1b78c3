#!lua flags=allow-oom
--! clock delayed held ring
-- A message that was begun is over, or is not to be begun: its slots are free, and whoever waits for one is called.
-- KEY queue: lpush
-- KEY held: lpush
-- KEY paused: exists
-- KEY delayed: zrangebyscore zrem
-- KEY called: pexpire sadd
-- KEY turn: get set
-- KEY bell: llen rpush
-- KEY slots: hdel hget hgetall hlen hset pexpire
-- KEY line: zrange zrem
-- There are `slots` and a `line` for each bound of how many are under way at the same time.
-- ARGV by whom its slots were taken, id of the message, for how many ms a slot is kept at most; for each bound the most
-- Returns how many slots it had.
-- A late copy finds that it has none, or that another consumer has begun it.
local QUEUE, HELD, PAUSED, DELAYED, CALLED, TURN, BELL = unpack(KEYS)
local BY, ID, LENGTH = ARGV[1], ARGV[2], tonumber(ARGV[3])
--! line

local had = 0
for i = 1, #ARGV - 3 do
  local slots, line = KEYS[6 + 2 * i], KEYS[7 + 2 * i]
  if string.match(redis.call('HGET', slots, ID) or '', '^%d+ (.*)$') == BY then
    redis.call('HDEL', slots, ID)
    call_next(slots, line, tonumber(ARGV[3 + i]))
    had = had + 1
  end
end
return had
