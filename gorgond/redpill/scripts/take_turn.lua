-- A part of claim.lua: note whose turn it is now, ring where there is more than this consumer takes, and say how it waits
-- if it got nothing.
local left, room = redis.call('LLEN', QUEUE), WANT > HELD
local takes_over = ours and who ~= CONSUMER
local unseen = now - seen -- ms
if ours and room then
  if takes_over and who ~= '*' then second, seen = who, at end
  if second == CONSUMER then second, seen = '*', 0 end
  who, at = CONSUMER, tonumber(now)
  if left == 0 and #messages == 0 then
    state = 'waits'
  elseif left > 0 and (takes_over or #messages == 0 or left >= WANT - HELD) then
    state = rung(BELL, takes_over and '-' or state, now)
  elseif takes_over or state == 'waits' then
    state = '-'
  end
elseif ours then -- it takes no more for now
  at = 0
  if left > 0 then state = rung(BELL, '-', now) end
elseif #messages > 0 then -- whoever was rung for looks no longer
  if left > 0 then
    state = rung(BELL, '-', now)
  elseif state ~= 'waits' then
    state = '-'
  end
elseif left > 0 then
  stand = LOOKING
  if state ~= '-' then state = string.format('%.0f', now) end -- who waits at the queue has it already, or is gone
elseif state ~= 'waits' then
  state, stand = '-', STANDING_BY
elseif now - at >= PATIENCE and (second == CONSUMER or unseen >= GONE or unseen < 0) then
  second, seen = CONSUMER, tonumber(now)
else
  stand = STANDING_BY
end
set_turn(TURN, who, at, state, second, seen)
