-- A node takes the engines, or renews its lease.
-- KEYS[1]: tenants (a hash: node -> "<start> <end of its lease in ms of this server's clock> <'1' alone> <why>")
-- ARGV[1]: node  [2]: start, unlike every other  [3]: ms of a lease  [4]: '1' when it must be alone, else '0'  [5]: why
-- [6]: '1' when it is just starting: an earlier start of it is over then
-- Answers 'ok', 'replaced' by another start of the node, or 'taken' with node, start, end and ms left of its lease, and why it is alone ('' when it is not).
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local tenants = redis.call('HGETALL', KEYS[1])
local mine, taken = nil, nil
for at = 1, #tenants, 2 do
  local node = tenants[at]
  local start, ends, alone, why = string.match(tenants[at + 1], '^(%S+) (%d+) ([01]) (.*)$')
  if node == ARGV[1] then
    mine = start
  elseif not start or tonumber(ends) <= now then
    redis.call('HDEL', KEYS[1], node)
  elseif alone == '1' or ARGV[4] == '1' then
    taken = { 'taken', node, start, ends, string.format('%.0f', tonumber(ends) - now), alone == '1' and why or '' }
  end
end
if mine and mine ~= ARGV[2] and ARGV[6] ~= '1' then return { 'replaced' } end
if taken then return taken end
local ends = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], ARGV[1], table.concat({ ARGV[2], ends, ARGV[4], ARGV[5] }, ' '))
return { 'ok' }
