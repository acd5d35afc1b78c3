#!lua flags=allow-oom
--! attempts
-- Take a desk: from now on only the new token is good for it. What lies there was left by a predecessor.
-- KEYS desk, consumers   ARGV consumer, the token that stands ('': none)
-- Returns {"ok", token, length of the desk}, or {"stale", token that stands} when it is another one: nothing was taken.
-- Who takes does not know it and begins with ''; then it asks again with what it was told.
-- A late copy is stale: since then the token has stood that it made, or that whoever was quicker made.
local stored = redis.call('HGET', KEYS[2], ARGV[1])
local stands = stored and string.match(stored, '^%d+') or ''
if stands ~= ARGV[2] then return {'stale', stands} end
local time = redis.call('TIME')
local token = time[1] * 1000000 + time[2]
if stored then token = math.max(token, tonumber(stands) + 1) end
token = string.format('%.0f', token)
redis.call('HSET', KEYS[2], ARGV[1], token .. ' 0 ' .. now_ms() .. ' 0')
local lying = redis.call('LRANGE', KEYS[1], 0, -1)
for i, raw in ipairs(lying) do
  if attempts_of(raw) == 0 then redis.call('LSET', KEYS[1], i - 1, suspected(raw)) end
end
return {'ok', token, #lying}
