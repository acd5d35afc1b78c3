#!lua flags=allow-oom
--! attempts
-- A consumer's whole claim: settle what is finished, take the next messages, return what lies on the desk.
-- KEYS queue, desk, delayed, dead, consumers, counts
-- ARGV consumer, token, claim, length (of the desk, as the consumer knows it), done (how many of it are finished),
--      want (length of the desk to aim at; 0: hand nothing out; -1: nothing but a sign of life, a repeat of the last
--      claim), limit (of attempts), expired (how many of the settled),
--      held (how many at the head of the desk, once settled, are in hand and not to be handed out again),
--      later (how many behind the done are finished too), their indexes from 0,
--      then for each failure among the finished: its index from 0, delay in ms (-1: give up), reason, started (0: it
--      was not, and keeps the attempts that it had)
-- Returns {"ok", length, message, …}, or {"void"} when the desk is not as the consumer knows it (it was given to others
-- meanwhile, or Redis lost its last writes), {"superseded"} when another process of this name has it.
-- Sent again with the same claim it settles nothing twice and returns the same messages.
-- A late copy is void, and changes nothing, when the consumer went on: its claim is below the last one, or its token is
-- not the one that stands. One of the last claim shows a life that may have ended, until the consumer is silent again.
-- One that is the first to arrive is the claim itself: what it settles was handled, what it takes is found on the desk.
-- A sign of life is never taken for a claim: with a claim that is not the last, as after the broker lost it, it is
-- void.
-- What was started before may have killed its consumer, and may do so again: it is handed out without anything
-- new, by the square root of `want`, and the last time by itself. So it cannot take neighbours along, and a desk full
-- of it that a killed consumer left is done in a few claims.
-- From a queue that is paused nothing is taken: what waits is not in its list, what is due stays delayed.
local stored = redis.call('HGET', KEYS[5], ARGV[1])
if not stored then return {'void'} end
local token, last, given = string.match(stored, '^(%d+) (%S+) %d+ ?(%d*)')
if last == '-' then return {'void'} end
if tonumber(token) > tonumber(ARGV[2]) then return {'superseded'} end
if token ~= ARGV[2] then return {'void'} end -- the take that made our token is lost

local CHUNK = 64 -- messages looked at together: most of them are taken
local BYTES = 4 * 1024 * 1024 -- of messages brought in one claim, unless the first alone has more

-- The first messages of the queue that were never started, as many as fit.
local function fresh(queue, want)
  local found, size = {}, 0
  while #found < want do
    local asked = math.min(CHUNK, want - #found)
    local waiting = redis.call('LRANGE', queue, #found, #found + asked - 1)
    for _, raw in ipairs(waiting) do
      size = size + #raw
      if attempts_of(raw) > 0 or (size > BYTES and #found > 0) then return found end
      found[#found + 1] = raw
    end
    if #waiting < asked then break end
  end
  return found
end

local now = now_ms()
local queue, desk, dead, counts = KEYS[1], KEYS[2], KEYS[4], KEYS[6]
local want, limit, held, later = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[9]), tonumber(ARGV[10])

local ahead = tonumber(ARGV[3]) - tonumber(last)
local first = ahead == 1 and want >= 0
if ahead ~= 0 and not first then return {'void'} end -- a claim is lost, or this is a late copy
local length = redis.call('LLEN', desk)
if first and length ~= tonumber(ARGV[4]) then return {'void'} end -- something lies there that it does not know of

local function note(n)
  redis.call('HSET', KEYS[5], ARGV[1], token .. ' ' .. ARGV[3] .. ' ' .. now .. ' ' .. n)
end

if first then
  note(0) -- before anything is settled: whatever goes wrong, a repeat does not settle it twice
  local done, expired, failed = tonumber(ARGV[5]), tonumber(ARGV[8]), 0
  for i = 11 + later, #ARGV, 4 do
    local raw, delay = redis.call('LINDEX', desk, ARGV[i]), tonumber(ARGV[i + 1])
    raw = ARGV[i + 3] == '0' and unstarted(raw) or suspected(raw)
    if delay < 0 or attempts_of(raw) >= limit then
      bury(dead, counts, raw, ARGV[i + 2], now)
    else
      local n = redis.call('HINCRBY', counts, 'retried', 1)
      redis.call('ZADD', KEYS[3], now + delay, string.format('%016d %d:', n, delay) .. raw)
    end
    failed = failed + 1
  end
  if later > 0 then
    local gone = 'settled by ' .. ARGV[2] .. ' ' .. ARGV[3] -- no message is this
    for i = 11, 10 + later do redis.call('LSET', desk, ARGV[i], gone) end
    redis.call('LREM', desk, later, gone)
  end
  if done > 0 then redis.call('LTRIM', desk, done, -1) end
  length = length - done - later
  if done + later > expired + failed then redis.call('HINCRBY', counts, 'done', done + later - expired - failed) end
  if expired > 0 then redis.call('HINCRBY', counts, 'expired', expired) end
end

-- The claim ends: return what it gives, which lies on the desk behind what is in hand, and note how many.
local function give(messages)
  note(first and #messages or given)
  return {'ok', length, unpack(messages)}
end

if want <= 0 then return give({}) end -- the consumer shows that it lives, or is about to leave and starts nothing more

local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 100)
if #due > 0 and redis.call('HGET', counts, 'paused') then due = {} end
for i = #due, 1, -1 do
  redis.call('LPUSH', queue, (string.sub(due[i], string.find(due[i], ':', 1, true) + 1)))
  redis.call('ZREM', KEYS[3], due[i])
end

if not first then return give(given == '0' and {} or redis.call('LRANGE', desk, held, held + given - 1)) end

local function suspect_at(index)
  return attempts_of(redis.call('LINDEX', desk, index)) > 0
end

-- Start again what the desk begins with, then the queue; each start is counted before it happens.
local function restart()
  local started, size, most = {}, 0, math.ceil(math.sqrt(want))
  while #started < most do
    local lying = #started < length
    local raw = redis.call('LINDEX', lying and desk or queue, lying and #started or 0)
    local attempts = raw and attempts_of(raw) or 0
    local final = attempts + 1 >= limit
    if attempts == 0 or #started > 0 and (final or size + #raw > BYTES) then break end
    if not lying then
      redis.call('LMOVE', queue, desk, 'LEFT', 'RIGHT')
      length = length + 1
    end
    if attempts < limit then
      raw = with_attempts(raw, attempts + 1)
      redis.call('LSET', desk, #started, raw)
      started[#started + 1], size = raw, size + #raw
      if final then break end
    else
      bury(dead, counts, raw, 'its consumer died each time', now)
      redis.call('LPOP', desk)
      length = length - 1
    end
  end
  return started
end

-- What is new waits until nothing that was started before is in hand or next.
if held > 0 and suspect_at(0) then return give({}) end
local started = held == 0 and restart() or {}
if #started > 0 then return give(started) end
local next_up = length > held and suspect_at(held)
local some = next_up and {} or fresh(queue, want - length)
if #some > 0 then
  redis.call('RPUSH', desk, unpack(some))
  redis.call('LTRIM', queue, #some, -1)
  length = length + #some
end
if length == held + #some then return give(some) end
local lying = {}
for _, raw in ipairs(redis.call('LRANGE', desk, held, -1)) do
  if attempts_of(raw) > 0 then break end
  lying[#lying + 1] = raw
end
return give(lying)
