#!lua flags=allow-oom
--! attempts clock count held ring
-- Return the desks of silent consumers to the head of the queue and void their tokens.
-- KEY queue: lpush
-- KEY held: lpush
-- KEY paused: exists
-- KEY delayed: zadd zcount zcard zrange
-- KEY consumers: hdel hgetall hset
-- KEY counts: hincrby hset
-- KEY watched: get set
-- KEY turn: get set
-- KEY bell: llen rpush
-- MAKES desk: del lrange
-- ARGV what a desk's key starts with, silence in ms after which a consumer is taken for dead, and for gone
-- Returns {consumer, number of messages, …} of the desks that had any, the one silent for longest first.
-- Only who could be heard is silent: consumers are taken for dead when somebody has looked for as long as `silence`,
-- without a gap of half of it. So nothing is taken from consumers after an outage, a pause of Redis, or a clock set
-- forward, before they have had time to show themselves; and a late copy is a look like others.
-- A consumer stays listed for longer than a network holds anything: its last blocking wait may still put a message on
-- its desk. Messages on a desk that was given up, or given to others, were put there so, and started by nobody.
-- When the clock was set back, what is kept of the time before is brought down to it: nobody was heard in the future,
-- and what is delayed is due after its delay at most.
local QUEUE, HELD, PAUSED, DELAYED, CONSUMERS, COUNTS, WATCHED, TURN, BELL = unpack(KEYS)
local DESKS, SILENCE, FORGET = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local CHUNK = 1000

local now = tonumber(now_ms())

local function text(ms) return string.format('%.0f', ms) end

local since, last = string.match(redis.call('GET', WATCHED) or '', '^(%d+) (%d+)$')
local set_back = last and tonumber(last) > now
local without_gap = last and not set_back and now - last < math.floor(SILENCE / 2)
since = tonumber(without_gap and since or now)
redis.call('SET', WATCHED, text(since) .. ' ' .. text(now), 'EX', 86400)

if set_back then
  -- By their ranks from the first that is not due on: one that is due earlier now leaves the ranks of the others.
  for rank = redis.call('ZCOUNT', DELAYED, '-inf', now), redis.call('ZCARD', DELAYED) - 1, CHUNK do
    local some = redis.call('ZRANGE', DELAYED, rank, rank + CHUNK - 1, 'WITHSCORES')
    for i = 1, #some, 2 do
      local latest = now + (string.match(some[i], '^%d+ (%d+):') or math.huge)
      if tonumber(some[i + 1]) > latest then redis.call('ZADD', DELAYED, text(latest), some[i]) end
    end
  end
end

local silent = {}
local consumers = redis.call('HGETALL', CONSUMERS)
for i = 1, #consumers, 2 do
  local token, claim, told, given = string.match(consumers[i + 1], '^(%d+) (%S+) (%d+)(.*)$')
  local at = told
  if tonumber(at) > now then
    at = text(now)
    redis.call('HSET', CONSUMERS, consumers[i], token .. ' ' .. claim .. ' ' .. at .. given)
  end
  if now - since >= SILENCE and now - at >= SILENCE then
    silent[#silent + 1] = {consumer = consumers[i], token = token, at = at, told = told, void = claim == '-'}
  end
end
table.sort(silent, function(a, b) return a.told < b.told or a.told == b.told and a.consumer < b.consumer end)

local waiting = waiting_list(QUEUE, HELD, PAUSED)
local found = {}
for _, each in ipairs(silent) do
  local desk = DESKS .. each.consumer
  local lying = redis.call('LRANGE', desk, 0, -1)
  if #lying > 0 then
    for j = #lying, 1, -1 do redis.call('LPUSH', waiting, each.void and lying[j] or suspected(lying[j])) end
    redis.call('DEL', desk)
    redis.call('HSET', CONSUMERS, each.consumer, each.token .. ' - ' .. each.at)
    count(COUNTS, 'recovered', #lying)
    found[#found + 1] = each.consumer
    found[#found + 1] = #lying
  elseif now - each.at >= FORGET then
    redis.call('HDEL', CONSUMERS, each.consumer)
  end
end
if #found > 0 then ring(TURN, BELL, #found) end
return found
