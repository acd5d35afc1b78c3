#!lua flags=allow-oom
--! attempts clock count turn
-- A consumer's whole claim: settle what is finished, take the next messages, return what lies on the desk.
-- KEY queue: lindex llen lmove lpop lpush lrange lrem lset ltrim
-- KEY desk: lindex llen lmove lpop lpush lrange lrem lset ltrim rpush
-- KEY paused: exists
-- KEY delayed: zadd zrange zrangebyscore zrem
-- KEY dead: zadd zcount zrange
-- KEY consumers: hget hset
-- KEY counts: hincrby hset
-- KEY turn: get set
-- KEY bell: llen rpush
-- KEY called: srem
-- ARGV consumer, token, claim, length (of the desk, as the consumer knows it), done (how many of it are finished),
--      want (length of the desk to aim at; 0: hand nothing out; -1: nothing but a sign of life, a repeat of the last
--      claim), limit (of attempts), expired (how many of the settled),
--      held (how many at the head of the desk, once settled, are in hand and not to be handed out again),
--      bytes (of messages brought in one claim, unless the first alone has more), due (how many of the delayed that are
--      due come back to the queue at a time),
--      patience (for how many ms a turn that is another consumer's is heeded, 0: not at all),
--      scattered (how many behind the done are finished too), their indexes from 0,
--      then for each failure among the finished: its index from 0, delay in ms (-1: give up), reason, started (0: it
--      was not, and keeps the attempts that it had), and the id of one that waits by the bounds of its queue, or '': the
--      delay is when it comes again then, ms since 1970, unless it was called meanwhile
-- Returns {"ok", length, wait, stand, message, …}, or {"void"} when the desk is not as the consumer knows it (it was given to
-- others meanwhile, or Redis lost its last writes), {"superseded"} when another process of this name has it. `wait`: in
-- how many ms the next of the delayed is due, when nothing was to be handed out; -1 when none is, or that is not known.
-- `stand`, how to wait where nothing was handed out: 0 at the queue, 1 for the bell, 2 for some ms, to claim again then.
-- Sent again with the same claim it settles nothing twice and returns the same messages.
-- A late copy is void, and changes nothing, when the consumer went on: its claim is below the last one, or its token is
-- not the one that stands. One of the last claim shows a life that may have ended, until the consumer is silent again.
-- One that is the first to arrive is the claim itself: what it settles was handled, what it takes is found on the desk.
-- A sign of life is never taken for a claim: with a claim that is not the last, as after the broker lost it, it is
-- void.
-- A message that was started before may have killed its consumer, and may do so again: it is handed out without
-- anything new, by the square root of `want`, and the last time by itself. So it cannot take neighbours along, and a
-- desk full of it that a killed consumer left is done in a few claims. From a queue that is paused nothing is taken:
-- what waits is not in its list, what is due stays delayed.
-- The consumers of a queue take turns, or each message would go to another one and none would have a batch. The one whose
-- turn it is takes what is there, and waits at the queue. The others stand by. They take what would fill a batch, and the
-- turn of one that has not claimed for `patience` ms: it is busy, hangs or is gone. One of them waits at the queue as
-- well while the first does, so that it is served if that one is dead.
local QUEUE, DESK, PAUSED, DELAYED, DEAD, CONSUMERS, COUNTS, TURN, BELL, CALLED = unpack(KEYS)
local CONSUMER, TOKEN, CLAIM, LENGTH, DONE = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local WANT, LIMIT, EXPIRED, HELD = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local BYTES, DUE, PATIENCE, SCATTERED = tonumber(ARGV[10]), ARGV[11], tonumber(ARGV[12]), tonumber(ARGV[13])
local INDEXES = 14 -- the place of the first; the failures are behind them
local AT_QUEUE, STANDING_BY, LOOKING = 0, 1, 2
local GONE = 15000 -- ms after which one that waits at the queue is; it claims far more often

local stored = redis.call('HGET', CONSUMERS, CONSUMER)
if not stored then return {'void'} end
local token, last, given = string.match(stored, '^(%d+) (%S+) %d+ ?(%d*)')
if last == '-' then return {'void'} end
if tonumber(token) > tonumber(TOKEN) then return {'superseded'} end
if token ~= TOKEN then return {'void'} end -- the take that made our token is lost

local ahead = CLAIM - tonumber(last)
local first = ahead == 1 and WANT >= 0
if ahead ~= 0 and not first then return {'void'} end -- a claim is lost, or this is a late copy

local now, length = now_ms(), redis.call('LLEN', DESK)
if first and length ~= LENGTH then return {'void'} end -- something lies there that it does not know of

local function note(n)
  redis.call('HSET', CONSUMERS, CONSUMER, token .. ' ' .. CLAIM .. ' ' .. now .. ' ' .. n)
end

if first then
  note(0) -- before anything is settled: whatever goes wrong, a repeat does not settle it twice
  --! settle
end

local heeds = PATIENCE > 0 and WANT > 0 and first
local who, at, state, second, seen, ours
if heeds then
  who, at, state, second, seen = turn_at(TURN)
  if not who then who, at, state, second, seen = '*', 0, '-', '*', 0 end
  local quiet = now - at
  ours = who == CONSUMER or quiet < 0 or quiet >= (state == 'waits' and GONE or PATIENCE)
end

-- The claim ends: return what it gives, which lies on the desk behind what is in hand, and note how many. `next_due` is
-- when the first of the delayed is, if none of them is due by now.
local function give(messages, next_due)
  if not first or #messages > 0 then note(first and #messages or given) end -- else that stands already
  local stand = AT_QUEUE
  if heeds then
    --! take_turn
  end
  local wait = #messages == 0 and next_due and redis.call('EXISTS', PAUSED) == 0 and next_due - now or -1
  return {'ok', length, wait, stand, unpack(messages)}
end

if WANT <= 0 then return give({}) end -- the consumer shows that it lives, or is about to leave and starts nothing more

local next_due = tonumber(redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2])
if next_due and next_due <= tonumber(now) and redis.call('EXISTS', PAUSED) == 0 then
  --! delayed later mark
  local message, its_due, n, delay = unmarked(redis.call('LINDEX', QUEUE, 0) or '', now)
  if message and its_due <= tonumber(now) then -- it comes in its order
    redis.call('LPOP', QUEUE)
    delay_until(DELAYED, its_due, n, delay, message)
  end
  local due, backwards = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, DUE), {}
  for i, entry in ipairs(due) do backwards[#due + 1 - i] = message_of(entry) end
  redis.call('LPUSH', QUEUE, unpack(backwards))
  redis.call('ZREM', DELAYED, unpack(due))
  next_due = nil
end

if not first then return give(given == '0' and {} or redis.call('LRANGE', DESK, HELD, HELD + given - 1), next_due) end
--! hand_out
