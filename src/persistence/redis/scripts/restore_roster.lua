-- Puts the roster of a group in its place where there is none.
-- ARGV[2]: its version  [3..]: fields and values
local version = redis.call('HGET', ROSTER, 'version')
if version then return { 'there' } end
enter_life()
for at = 3, #ARGV, 2 do
  redis.call('HSET', ROSTER, ARGV[at], ARGV[at + 1]) -- effect: member
end
redis.call('HSET', ROSTER, 'version', ARGV[2]) -- effect: version
return { 'ok' }
