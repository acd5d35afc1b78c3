#!lua flags=allow-oom
--! attempts held
-- Return the desks of silent lanes to the head of the queue and void their tokens.
-- KEYS queue, lanes, counts, held, watched, delayed
-- ARGV what a desk's key starts with, silence in ms after which a lane is taken for dead, and for gone
-- Returns {lane, number of messages, …} of the desks that had any, the one silent for longest first.
-- Only who could be heard is silent: lanes are taken for dead when somebody has looked for as long as `silence`, without
-- a gap of half of it. So nothing is taken from lanes after an outage, a pause of Redis, or a clock set forward, before
-- they have had time to show themselves; and a late copy is a look like others.
-- A lane stays listed for longer than a network holds anything: its last blocking wait may still put a message on its
-- desk. What lies on a desk that was given up, or given to others, was put there so, and started by nobody.
-- When the clock was set back, what is kept of the time before is brought down to it: nobody was heard in the future,
-- and what is delayed is due after its delay at most.
local now, silence = tonumber(now_ms()), tonumber(ARGV[2])

local function text(ms) return string.format('%.0f', ms) end

local since, last = string.match(redis.call('GET', KEYS[5]) or '', '^(%d+) (%d+)$')
local set_back = last and tonumber(last) > now
local without_gap = last and not set_back and now - last < math.floor(silence / 2)
since = tonumber(without_gap and since or now)
redis.call('SET', KEYS[5], text(since) .. ' ' .. text(now), 'EX', 86400)

if set_back then
  local delayed = redis.call('ZRANGEBYSCORE', KEYS[6], text(now), '+inf', 'WITHSCORES')
  for i = 1, #delayed, 2 do
    local latest = now + (string.match(delayed[i], '^%d+ (%d+):') or math.huge)
    if tonumber(delayed[i + 1]) > latest then redis.call('ZADD', KEYS[6], text(latest), delayed[i]) end
  end
end

local silent = {}
local lanes = redis.call('HGETALL', KEYS[2])
for i = 1, #lanes, 2 do
  local token, turn, told, given = string.match(lanes[i + 1], '^(%d+) (%S+) (%d+)(.*)$')
  local at = told
  if tonumber(at) > now then
    at = text(now)
    redis.call('HSET', KEYS[2], lanes[i], token .. ' ' .. turn .. ' ' .. at .. given)
  end
  if now - since >= silence and now - at >= silence then
    silent[#silent + 1] = {lane = lanes[i], token = token, at = at, told = told, void = turn == '-'}
  end
end
table.sort(silent, function(a, b) return a.told < b.told or a.told == b.told and a.lane < b.lane end)

local waiting = waiting_list(KEYS[1], KEYS[4], KEYS[3])
local found = {}
for _, each in ipairs(silent) do
  local desk = ARGV[1] .. each.lane
  local lying = redis.call('LRANGE', desk, 0, -1)
  if #lying > 0 then
    for j = #lying, 1, -1 do redis.call('LPUSH', waiting, each.void and lying[j] or suspected(lying[j])) end
    redis.call('DEL', desk)
    redis.call('HSET', KEYS[2], each.lane, each.token .. ' - ' .. each.at)
    redis.call('HINCRBY', KEYS[3], 'recovered', #lying)
    found[#found + 1] = each.lane
    found[#found + 1] = #lying
  elseif now - each.at >= tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[2], each.lane)
  end
end
return found
