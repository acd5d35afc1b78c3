--! turn
-- Shared by the scripts that put messages on a queue: so many came. The consumer that waits there gets a single one; else
-- a stand-by is rung for, to take what nobody does. It needs `clock`.
local function ring(turn, bell, n)
  local who, at, state, second, seen = turn_at(turn)
  if not who then return end
  local new = n == 1 and state == 'waits' and '-' or rung(bell, state, now_ms())
  if new ~= state then set_turn(turn, who, at, new, second, seen) end
end
