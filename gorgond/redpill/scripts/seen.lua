-- Shared by the scripts whose callers number their calls upwards: a call whose number was seen has no effect, and
-- its answer is that of the last one. A number is kept for a day after the last call.
local function outcome_of(key, number)
  local stored = redis.call('GET', key) or ''
  local seen, outcome = string.match(stored, '^(%d+) ?(%d*)$')
  if not seen or tonumber(seen) < tonumber(number) then return end
  return tonumber(outcome) or 1
end

local function remember(key, number, outcome)
  redis.call('SET', key, outcome and number .. ' ' .. outcome or number, 'EX', 86400)
end
