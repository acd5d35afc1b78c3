#!lua flags=allow-oom
--! clock delayed held ring seen
-- Whether a message that a consumer was handed may be begun by the bounds of its queue, or when it is to come again.
-- KEY asker: get set
-- KEY queue: lpush
-- KEY held: lpush
-- KEY paused: exists
-- KEY delayed: zrangebyscore zrem
-- KEY called: pexpire sadd srem
-- KEY turn: get set
-- KEY bell: llen rpush
-- KEY slots: hdel hget hgetall hlen hset pexpire
-- KEY line: pexpire zadd zcard zrange zrem
-- KEY starts: pexpire zadd zrange zrem zremrangebyscore zrevrangebyscore zscore
-- There are `slots` and a `line` for each bound of how many are under way at the same time; then `starts` for each of how
-- many are begun within a time, which has when each was begun, or is to be.
-- ARGV number of the call, by whom a slot is taken, id of the message, its start (the id, and which start it is), for how
--      many ms a slot is kept at most, how many bounds there are of the first kind, for each of them the most; for each
--      of the others the most and the ms within which they may be begun
-- Returns 0 it may be begun, and has its slots; or the ms since 1970 at which it is to come again.
-- One that gets no slot stands in its line, and is called as soon as there is one: the time is when it comes if nobody
-- calls it. Meanwhile it keeps the slots that it has of the bounds before, and none of those behind: so two do not wait
-- for each other. One that must wait by the others keeps none. It has its time, and the next of the same bound a later
-- one: each comes when it may be begun, in their order, and asks once more, as others may be late.
-- The asker numbers its calls upwards: a number that was seen is answered like the last one and changes nothing, so a
-- late copy has no effect. A message whose consumer has died has its slots when it asks again.
local ASKER, QUEUE, HELD, PAUSED, DELAYED, CALLED, TURN, BELL = unpack(KEYS)
local NUMBER, BY, ID, START, LENGTH, BOUNDS = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local EACH = 50 -- ms between two of a line that come although nobody called them
--! line

local answer = outcome_of(ASKER, NUMBER)
if answer then return answer end
redis.call('SREM', CALLED, ID)

local function slots_of(i) return KEYS[7 + 2 * i], KEYS[8 + 2 * i], tonumber(ARGV[6 + i]) end

local function give_back(i)
  local slots, line, most = slots_of(i)
  if redis.call('HDEL', slots, ID) == 1 then call_next(slots, line, most) end
end

-- Have a slot of a bound; else the time until which it stands in line.
local function line_up(i)
  local slots, line, most = slots_of(i)
  redis.call('ZREM', line, ID)
  if not redis.call('HGET', slots, ID) then
    call_next(slots, line, most)
    if free_of(slots, most) <= 0 then
      local last = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')[2] or 0
      local due = math.max(now_ms() + LENGTH + EACH * redis.call('ZCARD', line), last + 1)
      redis.call('ZADD', line, string.format('%.0f', due), ID)
      redis.call('PEXPIRE', line, string.format('%.0f', due - now_ms()))
      return due
    end
  end
  take_slot(slots, ID, BY)
end

-- When it may be begun by a bound of `most` within `length` ms. One that comes at its time goes by those that have been
-- begun; a new one, and one that is far too late, by all that are to be.
local function time_of(starts, most, length, now)
  local mine = tonumber(redis.call('ZSCORE', starts, START))
  redis.call('ZREM', starts, START)
  redis.call('ZREMRANGEBYSCORE', starts, '-inf', string.format('%.0f', now - length))
  local before
  if mine and mine > now - length then
    before = redis.call('ZREVRANGEBYSCORE', starts, string.format('%.0f', now), '-inf', 'WITHSCORES', 'LIMIT', most - 1, 1)
  else
    before = redis.call('ZRANGE', starts, -most, -most, 'WITHSCORES')
  end
  return before[2] and before[2] + length or now
end

local function note(starts, at, length, now)
  redis.call('ZADD', starts, string.format('%.0f', at), START)
  local last = redis.call('ZRANGE', starts, -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIRE', starts, string.format('%.0f', last - now + length))
end

local due
for i = 1, BOUNDS do
  if due then give_back(i) else due = line_up(i) end
end
if not due then
  local now, rates = tonumber(now_ms()), {}
  local at = now
  for k = 9 + 2 * BOUNDS, #KEYS do
    local j = 7 + BOUNDS + 2 * #rates
    local rate = {starts = KEYS[k], most = tonumber(ARGV[j]), length = tonumber(ARGV[j + 1])}
    at = math.max(at, time_of(rate.starts, rate.most, rate.length, now))
    rates[#rates + 1] = rate
  end
  for _, rate in ipairs(rates) do note(rate.starts, at, rate.length, now) end
  if at > now then
    due = at
    for i = 1, BOUNDS do give_back(i) end
  end
end
answer = due or 0
remember(ASKER, NUMBER, string.format('%.0f', answer))
return answer
