#!lua flags=allow-oom
--! attempts clock held ring
-- A consumer ends in good order: what it has not finished goes back to the head of the queue, as it is.
-- KEY queue: llen lmove
-- KEY held: lmove
-- KEY paused: exists
-- KEY desk: lindex lmove lset
-- KEY consumers: hget hset
-- KEY turn: get set
-- KEY bell: llen rpush
-- ARGV consumer, token, unhandled (1: what was handed out last was not handled)
-- Its turn is anybody's, and a stand-by is rung for.
-- Where those starts were counted, they are taken back: ending is not an attempt.
-- Returns how many messages went back; nothing happens when the desk is not the consumer's any more.
-- A late copy finds that the desk is not the consumer's any more, or gives it up as it was meant to.
-- The consumer stays listed for long: a blocking wait whose connection broke may still put a message on its desk.
local QUEUE, HELD, PAUSED, DESK, CONSUMERS, TURN, BELL = unpack(KEYS)
local CONSUMER, TOKEN, UNHANDLED = ARGV[1], ARGV[2], ARGV[3]

local stored = redis.call('HGET', CONSUMERS, CONSUMER)
if not stored then return 0 end
local token, last, at, given = string.match(stored, '^(%d+) (%S+) (%d+) ?(%d*)')
if token ~= TOKEN or last == '-' then return 0 end
for i = 0, (UNHANDLED == '1' and given or 0) - 1 do
  local raw = redis.call('LINDEX', DESK, i)
  if raw then redis.call('LSET', DESK, i, unstarted(raw)) end
end
local waiting = waiting_list(QUEUE, HELD, PAUSED)
local n = 0
while redis.call('LMOVE', DESK, waiting, 'RIGHT', 'LEFT') do n = n + 1 end
redis.call('HSET', CONSUMERS, CONSUMER, token .. ' - ' .. at)
local who, at, state, second, seen = turn_at(TURN)
if who == CONSUMER or second == CONSUMER then
  local new = who == CONSUMER and rung(BELL, '-', now_ms()) or state
  if who == CONSUMER then who, at = '*', 0 else second = '*' end
  set_turn(TURN, who, at, new, second, seen)
end
if redis.call('LLEN', QUEUE) > 0 then ring(TURN, BELL, math.huge) end
return n
