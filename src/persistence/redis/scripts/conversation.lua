-- What every script of a conversation begins with.
-- KEYS: meta, messages, times, late, cids, acks, roster: all of one conversation, in one hash tag.
-- ARGV[1]: the generation of the store's life that the node knows.
local META, MESSAGES, TIMES, LATE, CIDS, ACKS, ROSTER = unpack(KEYS)
local floor, max, min, format, match = math.floor, math.max, math.min, string.format, string.match

local meta = redis.call('HMGET', META, 'head', 'high', 'generation', 'cuts')
local head, high = tonumber(meta[1] or 0), tonumber(meta[2] or 0)
local generation, generation_before = tonumber(ARGV[1]), tonumber(meta[3] or 0)
-- The node has not heard of the life that this conversation is in already: nothing is done.
if generation_before > generation then return { 'stale' } end

-- Where each new life found the end of this conversation, as "generation head " pairs with rising heads:
-- acknowledgements from before it are cut to there, when they are next looked at.
local cuts = meta[4] or ''
if generation_before > 0 and generation_before < generation then
  local kept = ''
  for began, ended in string.gmatch(cuts, '(%d+) (%d+) ') do
    if tonumber(ended) < head then kept = kept .. began .. ' ' .. ended .. ' ' end
  end
  cuts = kept .. format('%.0f %.0f ', generation, head)
end

-- Called by every script before its first write.
local function enter_life()
  if generation_before ~= generation then
    redis.call('HSET', META, 'generation', ARGV[1], 'cuts', cuts) -- effect: life
  end
end
