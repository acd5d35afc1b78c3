#!lua flags=allow-oom
--! held
-- Append a batch of events to every durable group of a topic, once, and send it to who listens now.
-- A group that is full loses its oldest events, and counts them.
-- Done even without memory: the change that is announced here gives back more when it is settled after this.
-- KEYS producer, groups, limits, channel   ARGV number of the batch, topic's key, event, …
-- Returns 1.
-- A late copy has no effect, since its number was seen. A producer's number is forgotten after a day of silence.
local seen = redis.call('GET', KEYS[1])
if seen and tonumber(seen) >= tonumber(ARGV[1]) then return 1 end
local n = #ARGV - 2
for _, group in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local list = ARGV[2] .. '/' .. group
  local waiting = waiting_list(list, list .. ':held', list .. ':counts')
  local over = redis.call('RPUSH', waiting, unpack(ARGV, 3)) - tonumber(redis.call('HGET', KEYS[3], group))
  redis.call('HINCRBY', list .. ':counts', 'accepted', n)
  if over > 0 then
    redis.call('LTRIM', waiting, over, -1)
    redis.call('HINCRBY', list .. ':counts', 'overflow', over)
  end
end
for i = 3, #ARGV do redis.call('PUBLISH', KEYS[4], ARGV[i]) end
redis.call('SET', KEYS[1], ARGV[1], 'EX', 86400)
return 1
