-- Keeps a revocation.
-- KEYS: the revocations (a stream, by the time they were kept)
-- ARGV[1]: the revocation  [2]: ms that one is kept  [3]: how many at most
-- Answers its place, or '' where there are too many.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', math.max(0, now - tonumber(ARGV[2]))))
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then return '' end
local place = redis.call('XADD', KEYS[1], '*', 'revocation', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return place
