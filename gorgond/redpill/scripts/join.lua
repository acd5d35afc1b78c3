#!lua flags=allow-oom
-- Make a durable group of a topic, or change how much it keeps.
-- KEYS groups, limits   ARGV group, limit
-- Done even without memory: the group's lane may be the one that empties it.
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return redis.call('SADD', KEYS[1], ARGV[1])
