#!lua flags=no-writes,allow-oom
--! delayed
-- Where messages of one queue lie that hold a text, at one moment: none is missed because it moves. It changes
-- nothing, however late it is.
-- KEY queue: llen lrange
-- KEY held: llen lrange
-- KEY delayed: zcard zrange
-- KEY dead: zcard zrange
-- KEY consumers: hkeys
-- MAKES desk: llen lrange
-- ARGV text, what a desk's key starts with
-- Returns {place, detail, message, …}: queued (how many are before it), desk (the consumer), delayed (ms since 1970
-- when it is due), dead (the letter's number). At most 100 of them.
local QUEUE, HELD, DELAYED, DEAD, CONSUMERS = unpack(KEYS)
local TEXT, DESKS = ARGV[1], ARGV[2]
local CHUNK = 1000

local found = {}
local function look(raw, place, detail)
  if #found < 300 and string.find(raw, TEXT, 1, true) then
    found[#found + 1] = place
    found[#found + 1] = detail
    found[#found + 1] = raw
  end
end

local function look_through(list, each)
  for from = 0, redis.call('LLEN', list) - 1, CHUNK do
    for i, raw in ipairs(redis.call('LRANGE', list, from, from + CHUNK - 1)) do each(raw, from + i - 1) end
  end
end

local function look_through_scored(key, each)
  for from = 0, redis.call('ZCARD', key) - 1, CHUNK do
    local some = redis.call('ZRANGE', key, from, from + CHUNK - 1, 'WITHSCORES')
    for i = 1, #some, 2 do each(some[i], some[i + 1]) end
  end
end

for _, list in ipairs({QUEUE, HELD}) do
  look_through(list, function(raw, before) look(raw, 'queued', tostring(before)) end)
end
for _, consumer in ipairs(redis.call('HKEYS', CONSUMERS)) do
  look_through(DESKS .. consumer, function(raw) look(raw, 'desk', consumer) end)
end
look_through_scored(DELAYED, function(entry, due) look(message_of(entry), 'delayed', due) end)
look_through_scored(DEAD, function(letter, number)
  look(string.sub(letter, string.find(letter, '\n', 1, true) + 1), 'dead', number)
end)
return found
