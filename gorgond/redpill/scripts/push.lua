#!lua
--! count held memory seen
-- Append a batch to a queue, once: a batch number that was seen is answered like the first time and changes nothing.
-- KEY queue: llen rpush memory|usage
-- KEY held: llen rpush memory|usage
-- KEY paused: exists
-- KEY delayed: zcard zadd memory|usage
-- KEY producer: get set
-- KEY pushed: hincrby hset
-- KEY memory: hincrby hset hget
-- KEY turn: get set
-- KEY bell: llen rpush
-- ARGV number of the batch, how many messages may wait or be delayed, how many bytes of memory they may take, for how
--      many ms a consumer waits without looking, how many messages are for later, for each of them when (in so many ms:
--      +5000, or at that many ms since 1970) and the message; the other messages
-- Returns 1 accepted (now or before), 0 refused: it would take the queue over its limit.
-- A late copy has no effect, since its number was seen, whether it was accepted or refused; one below the last is of a
-- batch that was answered long ago. A producer's number is forgotten after a day of silence; a batch is repeated for
-- seconds.
-- The script reads all that could fail before it writes anything: so a batch that met an error did not happen.
local QUEUE, HELD, PAUSED, DELAYED, PRODUCER, PUSHED, MEMORY, TURN, BELL = unpack(KEYS)
local NUMBER, MESSAGES, BYTES, SOON, LATER = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local FIRST = 6 + 2 * LATER -- of the messages that are not for later

local outcome = outcome_of(PRODUCER, NUMBER)
if outcome then return outcome end

local waiting = waiting_list(QUEUE, HELD, PAUSED)
local length, delayed = redis.call('LLEN', waiting), redis.call('ZCARD', DELAYED)
local n = #ARGV - 5 - LATER
local came = n - LATER

local fits = length + delayed + n <= MESSAGES
if fits and length + delayed > 0 then
  local size = 0
  for i = 6, #ARGV do size = size + #ARGV[i] end
  local bound = bound_with(MEMORY, size)
  if bound > BYTES then
    --! clock measure
    -- While it is too much, it is measured ten times a second at most.
    local tenth = string.sub(now_ms(), 1, -3)
    if bound == math.huge or redis.call('HGET', MEMORY, 'full') ~= tenth then
      bound = memory_of(waiting) + memory_of(DELAYED) + size
      if bound > BYTES then redis.call('HSET', MEMORY, 'full', tenth) end
    end
    fits = bound <= BYTES
    redis.call('HSET', MEMORY, 'bound', fits and bound or bound - size)
  end
end

if fits and LATER > 0 then
  --! clock later
  local now, later = tonumber(now_ms()), {}
  for i = 6, FIRST - 1, 2 do
    local delay = string.match(ARGV[i], '^%+(%d+)$')
    later[#later + 1] = {due = delay and now + delay or ARGV[i] + 0, delay = delay or '-', raw = ARGV[i + 1]}
  end
  -- When the queue is empty its consumers wait for its list, and look at what is delayed once a second. So the first
  -- that is due sooner lies in the list, marked. It begins as one whose start is to be counted does: whoever gets it
  -- claims at once, which puts it off and tells when it is due.
  local waited_for = length == 0 and waiting == QUEUE
  for _, each in ipairs(later) do
    local number = count(PUSHED, 'later', 1)
    if each.due <= now then
      redis.call('RPUSH', waiting, each.raw)
      came = came + 1
    elseif waited_for and each.due - now < SOON and string.sub(each.raw, 1, 2) == '{"' then
      local mark = string.format('{"attempts":1,"later":"%.0f %.0f %s",', each.due, number, each.delay)
      redis.call('RPUSH', waiting, mark .. string.sub(each.raw, 2))
      waited_for = false
      came = came + 1
    else
      delay_until(DELAYED, each.due, number, each.delay, each.raw)
    end
  end
end

if fits then
  if FIRST <= #ARGV then redis.call('RPUSH', waiting, unpack(ARGV, FIRST)) end
  count(PUSHED, 'accepted', n)
  if came > 0 and waiting == QUEUE then
    --! clock ring
    ring(TURN, BELL, came)
  end
end
remember(PRODUCER, NUMBER, fits and 1 or 0)
return fits and 1 or 0
