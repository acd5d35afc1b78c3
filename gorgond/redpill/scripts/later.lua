-- Shared by the scripts that know of messages for later. Such a message is delayed until it is due.
local function delay_until(delayed, due, n, delay, raw)
  redis.call('ZADD', delayed, due, string.format('%016d %s:', n, delay) .. raw)
end
