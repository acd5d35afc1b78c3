#!lua flags=no-writes,allow-oom
-- All figures of one queue at one moment.
-- KEYS queue, delayed, dead, lanes, counts   ARGV what a desk's key starts with
-- Returns {queued, in flight, delayed, dead, head of the queue or "", name, figure, …}.
local flying = 0
for _, lane in ipairs(redis.call('HKEYS', KEYS[4])) do
  flying = flying + redis.call('LLEN', ARGV[1] .. lane)
end
local answer = {redis.call('LLEN', KEYS[1]), flying, redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]),
  redis.call('LINDEX', KEYS[1], 0) or ''}
for _, item in ipairs(redis.call('HGETALL', KEYS[5])) do answer[#answer + 1] = item end
return answer
