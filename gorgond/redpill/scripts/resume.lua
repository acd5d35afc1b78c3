#!lua flags=allow-oom
-- Undo a pause; lanes that wait are served at once.
-- KEYS queue, held, counts
-- Returns 1, or 0 when it was not paused.
if redis.call('HDEL', KEYS[3], 'paused') == 0 then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 and redis.call('RENAMENX', KEYS[2], KEYS[1]) == 0 then
  -- Something was put there by hand, past the scripts.
  while redis.call('LMOVE', KEYS[2], KEYS[1], 'RIGHT', 'LEFT') do end
end
return 1
