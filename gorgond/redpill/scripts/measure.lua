-- Shared by the scripts that measure what memory messages take; where they are delayed, some of them.
local function memory_of(key)
  return redis.call('MEMORY', 'USAGE', key, 'SAMPLES', string.sub(key, -8) == ':delayed' and 100 or 0) or 0
end
