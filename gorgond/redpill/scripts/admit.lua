#!lua
--! clock seen
-- Whether something may happen once more by limits on how often (the generic cell rate algorithm, ITU-T I.371): either
-- every limit admits it and counts it, or none does.
-- KEY asker: get set
-- KEY rate: del get set
-- There is a `rate` for each limit: until when what happened counts, ms since 1970; expires then.
-- ARGV number of the call, 1, or -1 to take back what was counted; then for each limit how many may happen at once, and
--      the ms after which one more may
-- Returns 0 counted, or the ms until every limit would admit it.
-- The asker numbers its calls upwards: a number that was seen is answered like the last one and counts nothing, so a
-- late copy has no effect. An asker's number is forgotten after a day of silence. When the clock was set back, what was
-- counted lasts no longer than all that may happen at once.
local ASKER = KEYS[1]
local NUMBER, N = ARGV[1], tonumber(ARGV[2])

local answer = outcome_of(ASKER, NUMBER)
if answer then return answer end
local now = tonumber(now_ms())
local ends, wait = {}, 0
for i = 2, #KEYS do
  local most, each = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local stored = tonumber(redis.call('GET', KEYS[i]) or now)
  local used = math.min(stored, now + most * each)
  ends[i] = {stored = stored, used = used, new = math.max(used, now) + N * each}
  wait = math.max(wait, ends[i].new - most * each - now)
end
local refused = N > 0 and wait > 0
for i = 2, #KEYS do
  local until_when = refused and ends[i].used or ends[i].new
  if until_when == ends[i].stored then
    -- it stays as it is
  elseif until_when > now then
    redis.call('SET', KEYS[i], string.format('%.0f', until_when), 'PX', string.format('%.0f', until_when - now))
  else
    redis.call('DEL', KEYS[i])
  end
end
local told = refused and wait or 0
remember(ASKER, NUMBER, string.format('%.0f', told))
return told
