-- Shared by the scripts that put messages on a queue: while it is paused they lie apart, where no consumer waits for
-- them.
local function waiting_list(queue, held, counts)
  return redis.call('HGET', counts, 'paused') and held or queue
end
