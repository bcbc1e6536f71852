-- Which life of the store this is; decided once, whoever asks first.
-- KEYS[1]: the lineage  ARGV[1]: run_id of the server  [2]: an epoch to take if a new life begins
-- [3]: '1' when what the server acknowledges survives every restart
-- [4], [5], [6]: generation, epoch and highest beat that this node had acknowledged, or ''
-- [7]: the format of keys and values that this node knows
local kept = redis.call('HMGET', KEYS[1], 'generation', 'epoch', 'run_id', 'beat', 'format')
-- Before anything is written. A store without a format is from when there was only the first.
local format = kept[5] or kept[1] and '1'
if format and format ~= ARGV[7] then
  return redis.error_reply('FORMAT ' .. format)
end
local generation, epoch, run_id = tonumber(kept[1] or nil), kept[2], kept[3]
local known_generation, known_beat = tonumber(ARGV[4]) or 0, tonumber(ARGV[6]) or 0
local lost = false
if not generation or not epoch then
  -- Nothing here: the first start of all, or everything is gone.
  lost = known_generation > 0
elseif generation < known_generation then
  lost = true
elseif epoch == ARGV[5] and tonumber(kept[4] or 0) < known_beat then
  lost = true
elseif run_id ~= ARGV[1] and ARGV[3] ~= '1' then
  lost = true
end
if not generation or not epoch or lost then
  -- Times in ms rise from life to life also where nothing is left to count on from.
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  generation = math.max(now, (generation or 0) + 1, known_generation + 1)
  epoch = ARGV[2]
  local life = { 'generation', string.format('%.0f', generation), 'epoch', epoch, 'beat', 0 }
  redis.call('HSET', KEYS[1], unpack(life)) -- effect: life
end
if not kept[5] then
  redis.call('HSET', KEYS[1], 'format', ARGV[7]) -- effect: format
end
if run_id ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'run_id', ARGV[1]) -- effect: run_id
end
return { string.format('%.0f', generation), epoch, lost and 1 or 0 }
