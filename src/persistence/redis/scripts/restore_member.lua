-- Makes a user's acknowledgement begin where it did elsewhere, unless there is one.
-- ARGV[2]: user  [3]: up to here
if redis.call('HEXISTS', ACKS, ARGV[2]) == 0 then
  enter_life()
  redis.call('HSET', ACKS, ARGV[2], ARGV[1] .. ' ' .. format('%.0f', min(tonumber(ARGV[3]), head))) -- effect: joined
end
return { 'ok' }
