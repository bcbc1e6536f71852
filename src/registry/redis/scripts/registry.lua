-- What every script of the registry begins with. All keys are in one hash tag.
-- KEYS: leases (a sorted set: life -> end of its lease in ms of this server's clock, 0: over), names (a hash: node ->
-- its life), nodes (a hash: life -> node), writes (a hash: life -> number of its newest write), version (of the newest change)
-- ARGV[1]: what the key of a life's users (a set) begins with
local LEASES, NAMES, NODES, WRITES, VERSION = unpack(KEYS)
local format = string.format
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(now_us / 1000)
local living = redis.call('ZRANGEBYSCORE', LEASES, '(' .. now, '+inf')

local function users_of(life) return ARGV[1] .. life end

local function lives(life)
  local lease = redis.call('ZSCORE', LEASES, life)
  return lease and tonumber(lease) > now
end

-- Whether a user is on any node but `life`.
local function is_elsewhere(user, life)
  for _, other in ipairs(living) do
    if other ~= life and redis.call('SISMEMBER', users_of(other), user) == 1 then return true end
  end
  return false
end

-- A life that is over stays so: its users are taken out by sweep.lua.
local function finish(life) redis.call('ZADD', LEASES, 'XX', 0, life) end

-- Rises for ever; by the clock, so that it also does where nothing is left to count on from.
local function next_version()
  local version = math.max(now_us, tonumber(redis.call('GET', VERSION) or 0) + 1)
  redis.call('SET', VERSION, format('%.0f', version))
  return format('%.0f', version)
end
