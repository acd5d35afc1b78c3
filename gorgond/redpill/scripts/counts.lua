#!lua flags=no-writes,allow-oom
-- All figures of one queue at one moment. It changes nothing, however late it is.
-- KEY queue: llen
-- KEY held: llen
-- KEY paused: exists
-- KEY delayed: zcard
-- KEY dead: zcard
-- KEY consumers: hkeys
-- KEY counts: hgetall
-- KEY pushed: hgetall
-- MAKES desk: llen
-- MAKES head: lindex
-- ARGV what a desk's key starts with
-- Returns {queued, in flight, delayed, dead, 1 when it is paused, head of the queue or "", name, figure, …}. A role
-- that may not read what waits gets no head. A figure may come twice, of counts and of pushed: their sum counts.
local QUEUE, HELD, PAUSED, DELAYED, DEAD, CONSUMERS, COUNTS, PUSHED = unpack(KEYS)
local DESKS = ARGV[1]

local in_flight = 0
for _, consumer in ipairs(redis.call('HKEYS', CONSUMERS)) do
  in_flight = in_flight + redis.call('LLEN', DESKS .. consumer)
end
local paused = redis.call('EXISTS', PAUSED)
local queued, held = redis.call('LLEN', QUEUE), redis.call('LLEN', HELD)
local head = queued + held > 0 and redis.pcall('LINDEX', held > 0 and HELD or QUEUE, 0)
local answer = {
  queued + held, in_flight, redis.call('ZCARD', DELAYED), redis.call('ZCARD', DEAD), paused,
  type(head) == 'string' and head or '',
}
for _, key in ipairs({COUNTS, PUSHED}) do
  for _, item in ipairs(redis.call('HGETALL', key)) do answer[#answer + 1] = item end
end
return answer
