#!lua flags=allow-oom
--! attempts
-- Return the desks of silent lanes to the head of the queue and void their tokens.
-- KEYS queue, lanes, tokens, counts
-- ARGV what a desk's key starts with, silence in ms after which a lane is taken for dead, and for gone for good
-- Returns {lane, number of messages, …} of the desks that had any.
-- A lane stays listed long after its death: its last blocking wait may still put a message on its desk.
local now = now_ms()
local found = {}
local silent = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[2]), 'WITHSCORES')
for i = 1, #silent, 2 do
  local lane, desk = silent[i], ARGV[1] .. silent[i]
  local lying = redis.call('LRANGE', desk, 0, -1)
  if #lying > 0 then
    for j = #lying, 1, -1 do redis.call('LPUSH', KEYS[1], suspected(lying[j])) end
    redis.call('DEL', desk)
    redis.call('HDEL', KEYS[3], lane)
    redis.call('HINCRBY', KEYS[4], 'recovered', #lying)
    found[#found + 1] = lane
    found[#found + 1] = #lying
  elseif now - silent[i + 1] > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[3], lane)
    redis.call('ZREM', KEYS[2], lane)
  end
end
return found
