#!lua flags=allow-oom
--! attempts held
-- Return the desks of silent lanes to the head of the queue and void their tokens.
-- KEYS queue, lanes, counts, held
-- ARGV what a desk's key starts with, silence in ms after which a lane is taken for dead, and for gone for good
-- Returns {lane, number of messages, …} of the desks that had any, the one silent for longest first.
-- A lane stays listed long after its death: its last blocking wait may still put a message on its desk.
local now = tonumber(now_ms())
local silent = {}
local lanes = redis.call('HGETALL', KEYS[2])
for i = 1, #lanes, 2 do
  local token, at = string.match(lanes[i + 1], '^(%d+) %S+ (%d+)')
  if tonumber(at) <= now - tonumber(ARGV[2]) then
    silent[#silent + 1] = {lane = lanes[i], token = token, at = at}
  end
end
table.sort(silent, function(a, b) return a.at < b.at or a.at == b.at and a.lane < b.lane end)
local waiting = waiting_list(KEYS[1], KEYS[4], KEYS[3])
local found = {}
for _, each in ipairs(silent) do
  local desk = ARGV[1] .. each.lane
  local lying = redis.call('LRANGE', desk, 0, -1)
  if #lying > 0 then
    for j = #lying, 1, -1 do redis.call('LPUSH', waiting, suspected(lying[j])) end
    redis.call('DEL', desk)
    redis.call('HSET', KEYS[2], each.lane, each.token .. ' - ' .. each.at)
    redis.call('HINCRBY', KEYS[3], 'recovered', #lying)
    found[#found + 1] = each.lane
    found[#found + 1] = #lying
  elseif now - each.at > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[2], each.lane)
  end
end
return found
