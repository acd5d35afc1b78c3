-- Shared by the scripts that bound the memory that messages take. It is measured seldom (`measure.lua`), since that takes
-- a millisecond when they are many: `bound` is what was measured last and what was pushed since. Only what goes beyond
-- the most, or a bound that cannot be read, has it measured.
local function bound_with(memory, size)
  local bound = redis.pcall('HINCRBY', memory, 'bound', size)
  return type(bound) == 'number' and bound > size and bound or math.huge
end
