-- What changed on one node: users that it now has, and users that it no longer has.
-- ARGV[2]: life  [3]: number of this write, rising  [4]: ms that the users are kept without a beat
-- then pairs of user and '1' (has) or '0' (has not)
-- Answers 'over', 'old', or 'ok', the version, and per user: changed (1 or 0), online (1 or 0).
local life, number = ARGV[2], tonumber(ARGV[3])
if not lives(life) then return { 'over' } end
-- Of a connection that was given up: what it says was said again, or is no longer so.
if number <= tonumber(redis.call('HGET', WRITES, life) or 0) then return { 'old' } end
redis.call('HSET', WRITES, life, ARGV[3])
local reply = { 'ok', next_version() }
for at = 5, #ARGV, 2 do
  local user, here = ARGV[at], ARGV[at + 1] == '1'
  local moved = redis.call(here and 'SADD' or 'SREM', users_of(life), user) == 1
  local elsewhere = is_elsewhere(user, life)
  reply[#reply + 1] = (moved and not elsewhere) and 1 or 0
  reply[#reply + 1] = (here or elsewhere) and 1 or 0
end
redis.call('PEXPIRE', users_of(life), ARGV[4])
return reply
