-- Shared by the parts of a claim: a message that push.lua has marked, without its mark, when it is due, its number and
-- its delay; nothing for another one. The clock may have been set back since.
local function unmarked(raw, now)
  local due, n, delay, rest = string.match(raw, '^{"attempts":1,"later":"(%d+) (%d+) ([^"]+)",()')
  if not due then return end
  return '{' .. string.sub(raw, rest), math.min(tonumber(due), now + (tonumber(delay) or math.huge)), n, delay
end
