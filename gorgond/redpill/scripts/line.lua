-- Shared by the scripts that know how many messages of a queue are under way at the same time: whoever has a slot is in
-- `slots`, as "<until when, ms since 1970> <by whom>"; who waits for one stands in `line`, by when it comes again by
-- itself. It needs `clock`, `held`, `ring`, `delayed`, the keys of the queue, and LENGTH, for how many ms a slot is kept.

-- How many slots are free; what was kept for longer than it may is nobody's.
local function free_of(slots, most)
  if redis.call('HLEN', slots) >= most then
    local all, now = redis.call('HGETALL', slots), tonumber(now_ms())
    for i = 1, #all, 2 do
      if (tonumber(string.match(all[i + 1], '^%d+')) or 0) <= now then redis.call('HDEL', slots, all[i]) end
    end
  end
  return most - redis.call('HLEN', slots)
end

local function take_slot(slots, id, by)
  redis.call('HSET', slots, id, string.format('%.0f %s', now_ms() + LENGTH, by))
  redis.call('PEXPIRE', slots, LENGTH)
end

-- The message of that id comes next, if it is delayed until then already.
local function fetch(id, due)
  local its_id = '"id":%s*"' .. string.gsub(id, '%W', '%%%0') .. '"'
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', DELAYED, due, due)) do
    if string.find(entry, its_id) then
      redis.call('ZREM', DELAYED, entry)
      redis.call('LPUSH', waiting_list(QUEUE, HELD, PAUSED), message_of(entry))
      ring(TURN, BELL, 1)
      return true
    end
  end
end

-- Whoever stands first in the line gets a slot, as long as any is free, and comes next. One that is still on the desk of
-- who was told that it must wait is noted as called: it is not delayed then.
local function call_next(slots, line, most)
  for _ = 1, free_of(slots, most) do
    local first = redis.call('ZRANGE', line, 0, 0, 'WITHSCORES')
    if #first == 0 then return end
    redis.call('ZREM', line, first[1])
    take_slot(slots, first[1], '-')
    if not fetch(first[1], first[2]) then
      redis.call('SADD', CALLED, first[1])
      redis.call('PEXPIRE', CALLED, LENGTH)
    end
  end
end
