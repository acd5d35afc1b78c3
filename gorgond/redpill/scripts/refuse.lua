#!lua flags=allow-oom
--! seen
-- The fate of a batch for which Redis had no memory, so that it did not run push.lua: refused, for good, unless it was
-- accepted before.
-- KEY producer: get set
-- ARGV number of the batch
-- Returns 1 accepted before, 0 refused.
-- A late copy has no effect, since its number was seen.
local PRODUCER = KEYS[1]
local NUMBER = ARGV[1]

local outcome = outcome_of(PRODUCER, NUMBER)
if not outcome then
  outcome = 0
  remember(PRODUCER, NUMBER, outcome)
end
return outcome
