#!lua flags=allow-oom
--! clock count held measure memory ring seen
-- Append a batch of events to every durable group of a topic, once, and send it to who listens now.
-- A group that is full, in number or in bytes, loses its oldest events, and counts them; in bytes a sixteenth more than
-- it must, so that it is measured seldom. One that cannot be written to, since somebody made something else of it,
-- loses the new ones, and the others get theirs.
-- Done even without memory: the change that is announced here gives back more when it is settled after this.
-- KEY publisher: get set
-- KEY groups: smembers
-- KEY limits: hget
-- KEY live: publish
-- MAKES group_queue: rpush ltrim memory|usage
-- MAKES group_held: rpush ltrim memory|usage
-- MAKES group_paused: exists
-- MAKES group_pushed: hincrby hset
-- MAKES group_memory: hincrby hset
-- MAKES group_turn: get set
-- MAKES group_bell: llen rpush
-- ARGV number of the batch, topic's key, how many events a group keeps that has no limit, how many bytes of memory they
--      may take, event, …
-- Returns 1.
-- A late copy has no effect, since its number was seen. A producer's number is forgotten after a day of silence.
local PUBLISHER, GROUPS, LIMITS, LIVE = unpack(KEYS)
local NUMBER, TOPIC, EVENTS, BYTES = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local FIRST = 5
local N = #ARGV - FIRST + 1

if outcome_of(PUBLISHER, NUMBER) then return 1 end

local size = 0
for i = FIRST, #ARGV do size = size + #ARGV[i] end

-- How many of the oldest go, so that those that stay take no more than they may; the newest always stays.
local function over_in_bytes(list, memory, length)
  local bound = bound_with(memory, size)
  if bound <= BYTES then return 0 end
  local gone, goal, share = 0, BYTES * 15 / 16, 1
  bound = memory_of(list)
  while bound > BYTES and length - gone > 1 do
    local some = math.ceil((length - gone) * math.min(1, share * (bound - goal) / bound))
    some = math.min(some, length - gone - 1)
    redis.call('LTRIM', list, some, -1)
    gone, bound, share = gone + some, memory_of(list), share * 2
  end
  redis.pcall('HSET', memory, 'bound', bound)
  return gone
end

local function append(group)
  local key = TOPIC .. '/' .. group
  local list = waiting_list(key, key .. ':held', key .. ':paused')
  local length = redis.pcall('RPUSH', list, unpack(ARGV, FIRST))
  local over = N
  if type(length) == 'number' then
    over = math.max(0, length - (tonumber(redis.call('HGET', LIMITS, group)) or EVENTS))
    if over > 0 then redis.call('LTRIM', list, over, -1) end
    over = over + over_in_bytes(list, key .. ':memory', length - over)
  end
  if list == key then ring(key .. ':turn', key .. ':bell', N) end
  count(key .. ':pushed', 'accepted', N)
  if over > 0 then count(key .. ':pushed', 'overflow', over) end
end

for _, group in ipairs(redis.call('SMEMBERS', GROUPS)) do append(group) end
remember(PUBLISHER, NUMBER)
-- While this script runs nobody begins to listen: where nobody hears the first event, nobody would hear the others.
local heard = 1
for i = FIRST, #ARGV do
  if heard > 0 then heard = redis.call('PUBLISH', LIVE, ARGV[i]) end
end
return 1
