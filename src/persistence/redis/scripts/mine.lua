-- Whether the conversation is a user's and not empty: the commit time of its newest message, or -1.
-- ARGV[2]: user  [3]: '1' in a direct chat or a group
if head == 0 then return { 'ok', -1 } end
-- The first message of a direct chat made it both users', and the invitation a group its members'.
if ARGV[3] ~= '1' and redis.call('HEXISTS', ACKS, ARGV[2]) == 0 then return { 'ok', -1 } end
return { 'ok', tonumber(redis.call('HGET', META, 'at')) }
