-- A new life of a node; calling it again changes nothing.
-- ARGV[2]: life  [3]: ms of a lease  [4]: name of the node  [5]: the life that this process had before, or ''
-- Answers whether another process holds the name: then the life goes without one that others know.
local life, lease, name, before = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local holder = redis.call('HGET', NAMES, name)
local taken = false
if holder and holder ~= life and holder ~= before then
  if before == '' then
    -- A process that starts: whoever had the name is an earlier start of this node.
    finish(holder)
  elseif lives(holder) then
    -- A process that was running all the time: whoever has the name is another one.
    taken = true
  end
end
if before ~= '' then finish(before) end
redis.call('ZADD', LEASES, now + lease, life)
if not taken then
  redis.call('HSET', NAMES, name, life)
  redis.call('HSET', NODES, life, name)
end
return taken and 1 or 0
