-- Renews a lease.
-- ARGV[2]: life  [3]: ms of a lease  [4]: ms that the users are kept without a beat
-- Answers how many users it has here, -1 when the life is over; and how many lives were ended, and how many ended by themselves.
local life = ARGV[2]
local count = -1
if lives(life) then
  redis.call('ZADD', LEASES, now + tonumber(ARGV[3]), life)
  redis.call('PEXPIRE', users_of(life), ARGV[4])
  count = redis.call('SCARD', users_of(life))
end
return { count, redis.call('ZCOUNT', LEASES, '-inf', 0), redis.call('ZCOUNT', LEASES, '(0', now) }
