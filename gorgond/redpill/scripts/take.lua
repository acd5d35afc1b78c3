#!lua flags=allow-oom
--! attempts clock
-- Take a desk: from now on only the new token is good for it. A predecessor left the messages that lie there.
-- KEY desk: lrange lset
-- KEY consumers: hget hset
-- ARGV consumer, the token that stands ('': none)
-- Returns {"ok", token, length of the desk}, or {"stale", token that stands} when it is another one: nothing was taken.
-- A consumer that takes does not know it and begins with ''; then it asks again with what it was told.
-- A late copy is stale: since then the token has stood that it made, or that a quicker consumer made.
local DESK, CONSUMERS = unpack(KEYS)
local CONSUMER, STANDS = ARGV[1], ARGV[2]

local stored = redis.call('HGET', CONSUMERS, CONSUMER)
local stands = stored and string.match(stored, '^%d+') or ''
if stands ~= STANDS then return {'stale', stands} end
local time = redis.call('TIME')
local token = time[1] * 1000000 + time[2]
if stored then token = math.max(token, tonumber(stands) + 1) end
token = string.format('%.0f', token)
redis.call('HSET', CONSUMERS, CONSUMER, token .. ' 0 ' .. now_ms() .. ' 0')
local lying = redis.call('LRANGE', DESK, 0, -1)
for i, raw in ipairs(lying) do
  if attempts_of(raw) == 0 then redis.call('LSET', DESK, i - 1, suspected(raw)) end
end
return {'ok', token, #lying}
