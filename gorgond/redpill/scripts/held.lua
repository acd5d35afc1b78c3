-- Shared by the scripts that put messages on a queue: while it is paused they lie apart, where no consumer waits for
-- them. A role that may not look whether it is takes it for not paused.
local function waiting_list(queue, held, paused)
  return redis.pcall('EXISTS', paused) == 1 and held or queue
end
