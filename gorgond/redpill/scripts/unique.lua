#!lua
-- A step of the only job that waits or runs under a key of a queue.
-- KEY unique: del hmget hset pexpire
-- ARGV step, id of the job on whose behalf it is taken, message, ms since 1970 or starts, for how many ms the key is kept
-- Returns {id of the job that stands, its message if that is not known to be in the queue}; {'', ''} when none stands.
-- A job is `new` until somebody has pushed it and said so, then `waiting`, `running`, `over`. Whoever meets a new one
-- may push it, as its own producer may be dead.
-- A late copy finds that the id stands already, or that its job is over, which is remembered for a while. Of two
-- replacements the later one holds, in whatever order they come. One of `pushed`, `begin` or `end` changes nothing when
-- the job has gone on.
-- A key whose time is over may still have what is nowhere else: a message that holds in another's place, or the job that
-- follows. So it is kept until that is in the queue, or over.
local UNIQUE = KEYS[1]
local STEP, ID, RAW, AT, LENGTH = unpack(ARGV)
local REMEMBERED = 600000 -- ms for which it is known that a job is over
local KEPT = 34560000000 -- ms for which a key is kept that has what is nowhere else: 400 days

local names = {'id', 'state', 'raw', 'other', 'next', 'next_raw', 'next_other', 'at', 'length', 'by'}
local stored, it = redis.call('HMGET', UNIQUE, unpack(names)), {}
for i, name in ipairs(names) do it[name] = stored[i] or nil end

local function stands()
  if not it.id or it.state == 'over' then return {'', ''} end
  return {it.id, it.state == 'new' and it.raw or ''}
end

local function place(id, raw, other, length)
  redis.call('DEL', UNIQUE)
  redis.call('HSET', UNIQUE, 'id', id, 'state', 'new', 'raw', raw, 'at', AT, 'length', length)
  if other then redis.call('HSET', UNIQUE, 'other', other) end
  return {id, raw}
end

if STEP == 'pushed' then
  if it.id == ID and it.state == 'new' then
    redis.call('HSET', UNIQUE, 'state', 'waiting', 'raw', '')
    if not it.other then redis.call('PEXPIRE', UNIQUE, it.length) end
  end
  return stands()
end

if STEP == 'begin' then
  if it.id ~= ID then return {ID, ''} end
  if it.state == 'over' or (it.state == 'running' and it.by ~= RAW and AT == '0') then return {'', ''} end
  redis.call('HSET', UNIQUE, 'state', 'running', 'by', RAW)
  return {ID, it.other or ''}
end

if STEP == 'end' or STEP == 'fail' then
  if it.id ~= ID or it.state == 'over' then return stands() end
  if it.next then
    local follows = place(it.next, it.next_raw, it.next_other, it.length)
    redis.call('PEXPIRE', UNIQUE, KEPT)
    return follows
  end
  if STEP == 'fail' then -- it may be put back
    redis.call('DEL', UNIQUE)
  else
    redis.call('HSET', UNIQUE, 'state', 'over', 'raw', '')
    redis.call('PEXPIRE', UNIQUE, REMEMBERED)
  end
  return {'', ''}
end

if it.id == ID then return {ID, it.state == 'new' and it.raw or ''} end
if it.next == ID then return {ID, ''} end
if not it.id or it.state == 'over' then
  local placed = place(ID, RAW, nil, LENGTH)
  redis.call('PEXPIRE', UNIQUE, LENGTH)
  return placed
end
local runs = it.state == 'running'
if STEP == 'keep' or (STEP == 'again' and not runs) or tonumber(AT) < tonumber(it.at) then return stands() end
redis.call('PEXPIRE', UNIQUE, KEPT)
if not runs then
  redis.call('HSET', UNIQUE, 'other', RAW, 'at', AT)
  return stands()
end
if not it.next then
  redis.call('HSET', UNIQUE, 'next', ID, 'next_raw', RAW, 'at', AT)
  return {ID, ''}
end
if STEP == 'replace' then redis.call('HSET', UNIQUE, 'next_other', RAW, 'at', AT) end
return {it.next, ''}
