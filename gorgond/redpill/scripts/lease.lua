#!lua flags=allow-oom
--! attempts
-- Take a lease, keep it, or give it up: until it ends nobody else gets it.
-- KEYS lease   ARGV who, for how many ms from now (0: give it up), how many ms ago what it is for was done (-1: it was not)
-- Returns {fencing token, ms since it was done by whomever}: the token 0 when another one has the lease or it was given
-- up, the ms -1 when it was never done. Each new owner, and one whose lease had ended, gets a higher token.
local now = tonumber(now_ms())
local stored = redis.call('HMGET', KEYS[1], 'owner', 'token', 'ends', 'done')
local token, done = tonumber(stored[2] or 0), tonumber(stored[4] or -1)
local held = tonumber(stored[3] or 0) > now
if held and stored[1] ~= ARGV[1] then token = 0
else
  -- The time goes into it, so that it grows also when Redis has lost the last one.
  if not held then token = math.max(token + 1, now) end
  if ARGV[3] ~= '-1' then done = now - ARGV[3] end
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', string.format('%.0f', token),
    'ends', string.format('%.0f', now + ARGV[2]), 'done', string.format('%.0f', done))
  if ARGV[2] == '0' then token = 0 end
end
return {token, done < 0 and -1 or now - done}
