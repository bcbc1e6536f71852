-- A node leaves.
-- KEYS[1]: tenants  ARGV[1]: node  [2]: start
local kept = redis.call('HGET', KEYS[1], ARGV[1])
if kept and string.match(kept, '^(%S+) ') == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
