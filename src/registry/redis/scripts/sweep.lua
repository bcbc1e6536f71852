-- Takes users of one life that is over out; whoever does it tells of those who are nowhere now.
-- ARGV[2]: '1': also of a life whose lease ended by itself  [3]: how many users at most
-- Answers whether there is more, the version, and the users.
local last = ARGV[2] == '1' and now or 0
local over = redis.call('ZRANGEBYSCORE', LEASES, '-inf', last, 'LIMIT', 0, 1)[1]
if not over then return { 0, '0' } end
finish(over)
local reply = { 1, next_version() }
for _, user in ipairs(redis.call('SPOP', users_of(over), ARGV[3])) do
  if not is_elsewhere(user, over) then reply[#reply + 1] = user end
end
if redis.call('EXISTS', users_of(over)) == 0 then
  local name = redis.call('HGET', NODES, over)
  if name and redis.call('HGET', NAMES, name) == over then redis.call('HDEL', NAMES, name) end
  redis.call('HDEL', NODES, over)
  redis.call('HDEL', WRITES, over)
  redis.call('ZREM', LEASES, over)
  if redis.call('ZCOUNT', LEASES, '-inf', last) == 0 then reply[1] = 0 end
end
return reply
