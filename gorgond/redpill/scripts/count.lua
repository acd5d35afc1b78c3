-- Shared by the scripts that count. Nothing is refused because of a count: one that cannot be read, since somebody wrote
-- something else there, or that Lua's numbers do not hold, is begun anew.
local function count(key, figure, n)
  local sum = redis.pcall('HINCRBY', key, figure, n)
  if type(sum) == 'number' and sum > 0 and sum < 2 ^ 53 then return sum end
  redis.pcall('HSET', key, figure, n)
  return n
end
