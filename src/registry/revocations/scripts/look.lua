-- What was kept after a place.
-- KEYS: the revocations  ARGV[1]: the place  [2]: how many at most
-- Answers the newest place ('0-0' where there is none), and pairs of place and revocation.
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local reply = { newest and newest[1] or '0-0' }
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  reply[#reply + 1] = entry[1]
  reply[#reply + 1] = entry[2][2]
end
return reply
