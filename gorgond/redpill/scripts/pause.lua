#!lua flags=allow-oom
-- Lanes take nothing more from a queue until it is resumed: what waits, and what comes, lies apart.
-- KEYS queue, held, counts
-- Returns 1, or 0 when it was paused already.
if redis.call('HGET', KEYS[3], 'paused') then return 0 end
redis.call('HSET', KEYS[3], 'paused', 1)
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end
return 1
