#!lua flags=allow-oom
--! attempts
-- Take a desk: from now on only the new token is good for it. What lies there was left by a predecessor.
-- KEYS desk, lanes   ARGV lane
-- Returns {token, length of the desk}.
local time = redis.call('TIME')
local token = time[1] * 1000000 + time[2]
local stored = redis.call('HGET', KEYS[2], ARGV[1])
if stored then token = math.max(token, tonumber(string.match(stored, '^%d+')) + 1) end
token = string.format('%.0f', token)
redis.call('HSET', KEYS[2], ARGV[1], token .. ' 0 ' .. now_ms() .. ' 0')
local lying = redis.call('LRANGE', KEYS[1], 0, -1)
for i, raw in ipairs(lying) do
  if attempts_of(raw) == 0 then redis.call('LSET', KEYS[1], i - 1, suspected(raw)) end
end
return {token, #lying}
