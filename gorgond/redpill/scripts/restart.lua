-- A part of claim.lua: start again what the desk begins with, then the queue; each start is counted before it happens.
local started, size, most = {}, 0, math.ceil(math.sqrt(WANT))
while #started < most do
  local lying = #started < length
  local list, index = lying and DESK or QUEUE, lying and #started or 0
  local raw = redis.call('LINDEX', list, index)
  local attempts = raw and attempts_of(raw) or 0
  local final = attempts + 1 >= LIMIT
  if attempts == 0 or #started > 0 and (final or size + #raw > BYTES) then break end
  if not put_off(list, index, raw) then
    if not lying then
      redis.call('LMOVE', QUEUE, DESK, 'LEFT', 'RIGHT')
      length = length + 1
    end
    if attempts < LIMIT then
      raw = with_attempts(raw, attempts + 1)
      redis.call('LSET', DESK, #started, raw)
      started[#started + 1], size = raw, size + #raw
      if final then break end
    else
      --! bury
      bury(DEAD, COUNTS, raw, 'its consumer died each time', now)
      redis.call('LPOP', DESK)
      length = length - 1
    end
  end
end
