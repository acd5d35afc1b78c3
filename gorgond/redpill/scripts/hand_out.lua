-- A part of claim.lua: choose what is handed out of a desk of which the first HELD are in hand, and put it there. A new
-- message waits until nothing that was started before is in hand or next.
local CHUNK = 64 -- messages looked at together: most of them are taken
local LARGE = 2048 -- bytes; messages of that size are moved within Redis, which costs less than to write them anew

-- The message that lies there, if it was started before.
local function suspect_at(index)
  local raw = index < length and redis.call('LINDEX', DESK, index)
  return raw and attempts_of(raw) > 0 and raw
end

-- Whether the message at that place was only marked: then it is now as it was pushed if it is due, else it is delayed.
local function put_off(list, index, raw)
  --! mark
  local message, due, n, delay = unmarked(raw, now)
  if not message then return false end
  if due <= tonumber(now) then
    redis.call('LSET', list, index, message)
  else
    --! later
    delay_until(DELAYED, due, n, delay, message)
    local gone = 'gone by ' .. TOKEN .. ' ' .. CLAIM -- no message is this
    redis.call('LSET', list, index, gone)
    redis.call('LREM', list, 1, gone)
    if list == DESK then length = length - 1 end
  end
  return true
end

-- Take the first messages of the queue that were never started, as many as fit: many in one step.
local function take_small(want)
  local found, size = {}, 0
  local waiting, first, more = {}, 0, true -- what was read of the queue, from that place on; whether there may be more
  while #found < want do
    local raw = waiting[#found - first + 1]
    if not raw then
      if not more then break end
      local asked = math.min(CHUNK, want - #found)
      first = #found
      waiting = redis.call('LRANGE', QUEUE, first, first + asked - 1)
      raw, more = waiting[1], #waiting == asked
      if not raw then break end
    end
    if attempts_of(raw) > 0 then
      if not put_off(QUEUE, #found, raw) then break end
      waiting, first, more = {}, #found, true
    elseif size + #raw > BYTES and #found > 0 then
      break
    else
      found[#found + 1], size = raw, size + #raw
    end
  end
  if #found > 0 then
    redis.call('RPUSH', DESK, unpack(found))
    redis.call('LTRIM', QUEUE, #found, -1)
  end
  return found
end

-- The same one by one. A message that is not to be taken goes back.
local function take_large(want)
  local found, size = {}, 0
  while #found < want do
    local raw = redis.call('LMOVE', QUEUE, DESK, 'LEFT', 'RIGHT')
    if not raw then break end
    local started = attempts_of(raw) > 0
    if started or size + #raw > BYTES and #found > 0 then
      redis.call('LMOVE', DESK, QUEUE, 'RIGHT', 'LEFT')
      if not started or not put_off(QUEUE, 0, raw) then break end
    else
      found[#found + 1], size = raw, size + #raw
    end
  end
  return found
end

local suspect = suspect_at(0)
if HELD > 0 and suspect then return give({}, next_due) end
local head = redis.call('LINDEX', QUEUE, 0)
if not head and length == HELD then return give({}, next_due) end -- nothing new, nothing left behind what is in hand
head = head or ''
if HELD == 0 and (suspect or length == 0 and attempts_of(head) > 0) then
  --! restart
  if #started > 0 then return give(started) end
end
local suspect_next = suspect_at(HELD)
while suspect_next and put_off(DESK, HELD, suspect_next) do suspect_next = suspect_at(HELD) end
local left_alone = heeds and not ours and redis.call('LLEN', QUEUE) < WANT - length
local some = (suspect_next or left_alone) and {} or (#head < LARGE and take_small or take_large)(WANT - length)
length = length + #some
if length == HELD + #some then return give(some, next_due) end
local lying = {}
for _, raw in ipairs(redis.call('LRANGE', DESK, HELD, -1)) do
  if attempts_of(raw) > 0 then break end
  lying[#lying + 1] = raw
end
return give(lying, next_due)
