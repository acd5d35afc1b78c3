#!lua
--! attempts
-- Whether something may happen once more by limits on how often (the generic cell rate algorithm, ITU-T I.371): either
-- every limit admits it and counts it, or none does.
-- KEYS one for each limit: until when what happened counts, ms since 1970; expires then
-- ARGV 1, or -1 to take back what was counted; then for each limit how many may happen at once, and the ms after which
--      one more may
-- Returns 0 counted, or the ms until every limit would admit it.
local n, now = tonumber(ARGV[1]), tonumber(now_ms())
local ends, wait = {}, 0
for i, key in ipairs(KEYS) do
  local most, each = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  ends[i] = math.max(tonumber(redis.call('GET', key) or now), now) + n * each
  wait = math.max(wait, ends[i] - most * each - now)
end
if n > 0 and wait > 0 then return wait end
for i, key in ipairs(KEYS) do
  if ends[i] > now then
    redis.call('SET', key, string.format('%.0f', ends[i]), 'PX', string.format('%.0f', ends[i] - now))
  else
    redis.call('DEL', key)
  end
end
return 0
