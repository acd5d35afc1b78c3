-- Shared by the scripts that switch something of a queue: each change begins another epoch. A process that asks for a
-- change says in which epoch: a late copy is of an earlier one, and stale.
local function epoch_of(key)
  return redis.call('GET', key) or ''
end
