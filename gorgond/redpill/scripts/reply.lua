#!lua flags=allow-oom
-- Replies for a waiting caller; they go away by themselves if nobody fetches them.
-- KEYS list   ARGV time to live in ms, reply, …
redis.call('RPUSH', KEYS[1], unpack(ARGV, 2))
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
