#!lua flags=no-writes,allow-oom
-- Where messages of one queue lie that hold a text, at one moment: none is missed because it moves. It changes
-- nothing, however late it is.
-- KEYS queue, held, delayed, dead, consumers   ARGV text, what a desk's key starts with
-- Returns {place, detail, message, …}: queued (how many are before it), desk (the consumer), delayed (ms since 1970
-- when it is due), dead (the letter's number). At most 100 of them.
local found = {}
local function look(raw, place, detail)
  if #found < 300 and string.find(raw, ARGV[1], 1, true) then
    found[#found + 1] = place
    found[#found + 1] = detail
    found[#found + 1] = raw
  end
end

local function look_through(list, each)
  for from = 0, redis.call('LLEN', list) - 1, 1000 do
    for i, raw in ipairs(redis.call('LRANGE', list, from, from + 999)) do each(raw, from + i - 1) end
  end
end

for _, list in ipairs({KEYS[1], KEYS[2]}) do
  look_through(list, function(raw, before) look(raw, 'queued', tostring(before)) end)
end
for _, consumer in ipairs(redis.call('HKEYS', KEYS[5])) do
  look_through(ARGV[2] .. consumer, function(raw) look(raw, 'desk', consumer) end)
end
local delayed = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
for i = 1, #delayed, 2 do
  look(string.sub(delayed[i], string.find(delayed[i], ':', 1, true) + 1), 'delayed', delayed[i + 1])
end
local letters = redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES')
for i = 1, #letters, 2 do
  look(string.sub(letters[i], string.find(letters[i], '\n', 1, true) + 1), 'dead', letters[i + 1])
end
return found
