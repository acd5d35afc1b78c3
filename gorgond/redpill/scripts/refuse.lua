#!lua flags=allow-oom
-- What became of a batch for which Redis had no memory, so that it did not run push.lua: refused, for good, unless it
-- was accepted before.
-- KEYS producer   ARGV number of the batch
-- Returns 1 accepted before, 0 refused.
-- A late copy has no effect, since its number was seen.
local seen, outcome = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d)$')
if seen and tonumber(seen) >= tonumber(ARGV[1]) then return tonumber(outcome) end
redis.call('SET', KEYS[1], ARGV[1] .. ' 0', 'EX', 86400)
return 0
