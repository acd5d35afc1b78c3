#!lua flags=allow-oom
-- Replies for a waiting caller; they go away by themselves if nobody fetches them.
-- A late copy leaves a second reply, or one that nobody waits for any more.
-- KEYS list   ARGV time to live in ms, reply, …
redis.call('RPUSH', KEYS[1], unpack(ARGV, 2))
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
