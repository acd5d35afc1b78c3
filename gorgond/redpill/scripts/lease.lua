#!lua flags=allow-oom
--! clock
-- Take a lease, keep it, or give it up: until it ends nobody else gets it.
-- KEY lease: hmget hset
-- ARGV who, for how many ms from now (0: give it up), when what it is for was done (by this clock, as an
--      answer told it; -1: it was not), the lease that stands, as an answer told it ('': not known)
-- Returns {"ok", fencing token, ms since it was done by whomever, now, the lease that stands}: the token 0 when another
-- one has the lease or it was given up, the ms -1 when it was never done. Each new owner, and one whose lease had
-- ended, gets a higher token. Or {"stale", the lease that stands}, when it is another one: nothing was done.
-- A late copy is stale: whatever was done with the lease since, also by itself, is another one.
-- When the clock was set back, a lease ends after its length at most, and nothing was done in the future.
local LEASE = KEYS[1]
local WHO, LENGTH, DONE, STANDS = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local now = tonumber(now_ms())
local stored = redis.call('HMGET', LEASE, 'owner', 'token', 'ends', 'done', 'length')
local owner, token, ends = stored[1] or '', tonumber(stored[2] or 0), tonumber(stored[3] or 0)
local done, length = tonumber(stored[4] or -1), tonumber(stored[5] or math.huge)

local function text(number) return string.format('%.0f', number) end
local function stands() return text(token) .. ' ' .. text(ends) .. ' ' .. text(done) end

if ends > now + length or done > now then
  ends, done = math.min(ends, now + length), math.min(done, now)
  redis.call('HSET', LEASE, 'ends', text(ends), 'done', text(done))
end
if stands() ~= STANDS then return {'stale', stands()} end
local held = ends > now
local ours = not held or owner == WHO
if ours then
  -- The time goes into it, so that it grows also when Redis has lost the last one.
  if not held then token = math.max(token + 1, now) end
  if DONE ~= '-1' then done = math.min(tonumber(DONE), now) end
  ends = now + LENGTH
  redis.call('HSET', LEASE, 'owner', WHO, 'token', text(token), 'ends', text(ends), 'done', text(done),
    'length', LENGTH)
end
return {'ok', ours and ends > now and token or 0, done < 0 and -1 or now - done, now, stands()}
