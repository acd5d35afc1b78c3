#!lua flags=allow-oom
-- Replies for a waiting caller; they go away by themselves if nobody fetches them.
-- A late copy leaves a second reply, or one that nobody waits for any more.
-- KEY replies: rpush pexpire
-- ARGV time to live in ms, reply, …
local REPLIES = KEYS[1]
local TIME_TO_LIVE = ARGV[1]

redis.call('RPUSH', REPLIES, unpack(ARGV, 2))
return redis.call('PEXPIRE', REPLIES, TIME_TO_LIVE)
