#!lua flags=no-writes,allow-oom
--! held
-- All figures of one queue at one moment. It changes nothing, however late it is.
-- KEYS queue, delayed, dead, consumers, counts, held   ARGV what a desk's key starts with
-- Returns {queued, in flight, delayed, dead, head of the queue or "", name, figure, …}.
local in_flight = 0
for _, consumer in ipairs(redis.call('HKEYS', KEYS[4])) do
  in_flight = in_flight + redis.call('LLEN', ARGV[1] .. consumer)
end
local waiting = waiting_list(KEYS[1], KEYS[6], KEYS[5])
local answer = {redis.call('LLEN', waiting), in_flight, redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]),
  redis.call('LINDEX', waiting, 0) or ''}
for _, item in ipairs(redis.call('HGETALL', KEYS[5])) do answer[#answer + 1] = item end
return answer
