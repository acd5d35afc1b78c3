-- Shared by the scripts that give messages up. A letter's number is above all that lie there, whatever the count says.
local function bury(dead, counts, raw, reason, now)
  local n = count(counts, 'dead', 1)
  if redis.call('ZCOUNT', dead, n, '+inf') > 0 then
    n = tonumber(redis.call('ZRANGE', dead, -1, -1, 'WITHSCORES')[2]) + 1
    redis.call('HSET', counts, 'dead', n)
  end
  local header = cjson.encode({n = n, at = tonumber(now), attempts = attempts_of(raw), reason = reason})
  redis.call('ZADD', dead, n, header .. '\n' .. raw)
end
