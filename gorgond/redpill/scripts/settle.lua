-- A part of claim.lua: settle the first DONE of the desk and the SCATTERED ones; the failures among all of these are
-- delayed or given up.
local failed = 0
for i = INDEXES + SCATTERED, #ARGV, 5 do
  local raw, delay, reason, started = redis.call('LINDEX', DESK, ARGV[i]), tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  local waits = ARGV[i + 4]
  raw = started == '0' and unstarted(raw) or suspected(raw)
  if waits ~= '' then
    --! later
    local due = redis.call('SREM', CALLED, waits) == 1 and tonumber(now) or delay
    delay_until(DELAYED, due, count(COUNTS, 'waited', 1), string.format('%.0f', math.max(due - now, 0)), raw)
  elseif delay < 0 or attempts_of(raw) >= LIMIT then
    --! bury
    bury(DEAD, COUNTS, raw, reason, now)
  else
    --! later
    delay_until(DELAYED, now + delay, count(COUNTS, 'retried', 1), string.format('%d', delay), raw)
  end
  failed = failed + 1
end
if SCATTERED > 0 then
  local gone = 'gone by ' .. TOKEN .. ' ' .. CLAIM -- no message is this
  for i = INDEXES, INDEXES + SCATTERED - 1 do redis.call('LSET', DESK, ARGV[i], gone) end
  redis.call('LREM', DESK, SCATTERED, gone)
end
if DONE > 0 then redis.call('LTRIM', DESK, DONE, -1) end
local settled = DONE + SCATTERED
length = length - settled
if settled > EXPIRED + failed then count(COUNTS, 'done', settled - EXPIRED - failed) end
if EXPIRED > 0 then count(COUNTS, 'expired', EXPIRED) end
