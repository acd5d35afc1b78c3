#!lua flags=allow-oom
--! attempts held
-- A consumer ends in good order: what it has not finished goes back to the head of the queue, as it is.
-- KEYS queue, desk, consumers, held, counts   ARGV consumer, token, unhandled (1: what was handed out last was not
--      handled)
-- Where those starts were counted, they are taken back: ending is not an attempt.
-- Returns how many messages went back; nothing happens when the desk is not the consumer's any more.
-- A late copy finds that the desk is not the consumer's any more, or gives it up as it was meant to.
-- The consumer stays listed for long: a blocking wait whose connection broke may still put a message on its desk.
local stored = redis.call('HGET', KEYS[3], ARGV[1])
if not stored then return 0 end
local token, last, at, given = string.match(stored, '^(%d+) (%S+) (%d+) ?(%d*)')
if token ~= ARGV[2] or last == '-' then return 0 end
for i = 0, (ARGV[3] == '1' and given or 0) - 1 do
  local raw = redis.call('LINDEX', KEYS[2], i)
  if raw then redis.call('LSET', KEYS[2], i, unstarted(raw)) end
end
local waiting = waiting_list(KEYS[1], KEYS[4], KEYS[5])
local n = 0
while redis.call('LMOVE', KEYS[2], waiting, 'RIGHT', 'LEFT') do n = n + 1 end
redis.call('HSET', KEYS[3], ARGV[1], token .. ' - ' .. at)
return n
