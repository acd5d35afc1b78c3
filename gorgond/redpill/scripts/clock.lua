-- Shared by the scripts that need the time: milliseconds since 1970, as text, since Lua would write so large a number
-- with an exponent.
local function now_ms()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end
