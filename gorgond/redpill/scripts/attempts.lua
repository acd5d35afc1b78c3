-- Shared by the scripts that hand out messages: a message's attempts are its first field, so they can be read and
-- changed without decoding the rest. A message that does not look like a JSON object with fields is left as it is.
local PREFIX = '{"attempts":'

local MOST = 1000000 -- whatever a producer wrote there, it stays a number that Lua writes in digits

local function attempts_of(raw)
  if string.byte(raw, 3) ~= 97 then return 0 end -- an a; most messages are told by it, at a fifth of the price
  return math.min(tonumber(string.match(raw, '^{"attempts":(%d+)[,}]')) or 0, MOST)
end

local function with_attempts(raw, n)
  local rest = string.match(raw, '^{"attempts":%d+()[,}]')
  if rest then
    return PREFIX .. n .. string.sub(raw, rest)
  elseif string.sub(raw, 1, 2) == '{"' then
    return PREFIX .. n .. ',' .. string.sub(raw, 2)
  end
  return raw
end

-- A message that was on the desk of a consumer that went away may have been started once.
local function suspected(raw)
  if attempts_of(raw) > 0 then return raw end
  return with_attempts(raw, 1)
end

-- A message that was handed out and not started, without the start that was counted for it.
local function unstarted(raw)
  local n = attempts_of(raw)
  return n > 1 and with_attempts(raw, n - 1) or raw
end
