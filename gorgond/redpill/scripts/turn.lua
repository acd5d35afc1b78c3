-- Shared by the scripts that know whose turn it is at a queue, which claim.lua explains: who has it, when that one claimed
-- last, how it stands ('waits': at the queue; a time: a stand-by was rung for then; '-': none of both), who waits behind
-- it, and when that one claimed last. '*' is nobody; nothing where no consumer ever took a turn.
local function turn_at(key)
  local turn = redis.pcall('GET', key)
  if type(turn) ~= 'string' then return end
  local who, at, state, second, seen = string.match(turn, '^(%S+) (%d+) (%S+) (%S+) (%d+)$')
  return who, tonumber(at), state, second, tonumber(seen)
end

local function set_turn(key, who, at, state, second, seen)
  redis.call('SET', key, string.format('%s %.0f %s %s %.0f', who, at, state, second, seen))
end

-- Ring for a stand-by, unless one was rung for within the last tenth of a second, and looks on: the state to note.
local function rung(bell, state, time)
  local now, last = tonumber(time), tonumber(state)
  if last and last <= now and now - last < 100 then return state end
  if redis.pcall('LLEN', bell) == 0 then redis.call('RPUSH', bell, 1) end
  return string.format('%.0f', now)
end
