-- Changes who is in a group, if nobody else has since it was read.
-- ARGV[2]: the version that it is based on  [3]: the new one  [4]: the owner, or ''  [5]: who leaves, or ''
-- [6]: who comes, or ''  [7]: "joined since life" of them
if redis.call('HGET', ROSTER, 'version') ~= (ARGV[2] ~= '0' and ARGV[2] or false) then return { 'moved' } end
enter_life()
redis.call('HSET', ROSTER, 'version', ARGV[3], 'owner', ARGV[4]) -- effect: roster
if ARGV[5] ~= '' then
  redis.call('HDEL', ROSTER, 'm ' .. ARGV[5]) -- effect: left
end
if ARGV[6] ~= '' then
  redis.call('HSET', ROSTER, 'm ' .. ARGV[6], ARGV[7]) -- effect: came
end
return { 'ok' }
