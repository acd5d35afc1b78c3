#!lua flags=allow-oom
--! attempts
-- A lane's whole turn: settle what is finished, take the next messages, return what lies on the desk.
-- KEYS queue, desk, delayed, dead, lanes, counts
-- ARGV lane, token, turn, length (of the desk, as the lane knows it), done (how many of it are finished),
--      want (length of the desk to aim at; 0: hand nothing out), limit (of attempts), expired (how many of the settled),
--      held (how many at the head of the desk, once settled, are in hand and not to be handed out again),
--      later (how many behind the done are finished too), their indexes from 0,
--      then for each failure among the finished: its index from 0, delay in ms (-1: give up), reason
-- Returns {"ok", length, message, …}, or {"void"} when the desk is not as the lane knows it (it was given to others
-- meanwhile, or Redis lost its last writes), {"superseded"} when another process of this name has it.
-- Sent again with the same turn it settles nothing twice and returns the same desk.
-- A message whose handling was started before is handed out alone, so that it cannot take neighbours along.
-- From a queue that is paused nothing is taken: what waits is not in its list, what is due stays delayed.
local stored = redis.call('HGET', KEYS[5], ARGV[1])
if not stored then return {'void'} end
local token, last = string.match(stored, '^(%d+) (%S+)')
if last == '-' then return {'void'} end
if tonumber(token) > tonumber(ARGV[2]) then return {'superseded'} end
if token ~= ARGV[2] then return {'void'} end -- the take that made our token is lost

local CHUNK = 64 -- messages looked at together: most of them are taken
local BYTES = 4 * 1024 * 1024 -- of messages brought in one turn, unless the first alone has more

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

local turn = tonumber(ARGV[3])
local first = tonumber(last) < turn
local length = redis.call('LLEN', desk)
if first and tonumber(last) ~= turn - 1 then return {'void'} end -- a turn is lost
if first and length ~= tonumber(ARGV[4]) then return {'void'} end -- something lies there that the lane does not know of
redis.call('HSET', KEYS[5], ARGV[1], token .. ' ' .. ARGV[3] .. ' ' .. now)

if first then
  local done, expired, failed = tonumber(ARGV[5]), tonumber(ARGV[8]), 0
  for i = 11 + later, #ARGV, 3 do
    local raw = redis.call('LINDEX', desk, ARGV[i])
    local attempts, delay = math.max(attempts_of(raw), 1), tonumber(ARGV[i + 1])
    raw = with_attempts(raw, attempts)
    if delay < 0 or attempts >= limit then
      bury(dead, counts, raw, ARGV[i + 2], now)
    else
      local n = redis.call('HINCRBY', counts, 'retried', 1)
      redis.call('ZADD', KEYS[3], now + delay, string.format('%016d:', n) .. raw)
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

if want == 0 then return {'ok', length} end -- the lane is about to leave and starts nothing more

local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 100)
if #due > 0 and redis.call('HGET', counts, 'paused') then due = {} end
for i = #due, 1, -1 do
  redis.call('LPUSH', queue, (string.sub(due[i], string.find(due[i], ':', 1, true) + 1)))
  redis.call('ZREM', KEYS[3], due[i])
end

local function suspect_at(index)
  return attempts_of(redis.call('LINDEX', desk, index)) > 0
end

-- A lane that took its desk over has only messages that were started before; each start is counted before it happens.
while first and length > 0 and held == 0 do
  local raw = redis.call('LINDEX', desk, 0)
  local attempts = attempts_of(raw)
  if attempts == 0 then break end
  if attempts < limit then
    redis.call('LSET', desk, 0, with_attempts(raw, attempts + 1))
    break
  end
  bury(dead, counts, raw, 'its consumer died each time', now)
  redis.call('LPOP', desk)
  length = length - 1
end

while first and length < want do
  local some = fresh(queue, want - length)
  if #some > 0 then
    if length > 0 and suspect_at(0) or length > held and suspect_at(held) then break end
    redis.call('RPUSH', desk, unpack(some))
    redis.call('LTRIM', queue, #some, -1)
    length = length + #some
    if length == held + #some then return {'ok', length, unpack(some)} end
    break
  end
  local raw = redis.call('LINDEX', queue, 0)
  if not raw or length > 0 then break end
  local attempts = attempts_of(raw)
  redis.call('LPOP', queue)
  if attempts < limit then
    redis.call('RPUSH', desk, with_attempts(raw, attempts + 1))
    length = 1
    break
  end
  bury(dead, counts, raw, 'its consumer died each time', now)
end

if held > 0 and suspect_at(0) then return {'ok', length} end -- it is in hand, alone
local lying = redis.call('LRANGE', desk, held, -1)
local answer = {'ok', length}
for i = 1, #lying do
  if i + held > 1 and attempts_of(lying[i]) > 0 then break end
  answer[i + 2] = lying[i]
  if attempts_of(lying[i]) > 0 then break end
end
return answer
