-- Stores a message, once.
-- ARGV[2]: "sender cid"  [3]: wire bytes  [4]: "sender cid type content"  [5]: ts or ''  [6]: how far it may
-- be ahead, ms  [7]: sender  [8]: '1' in a group  [9]: the seq of a restored message, or ''  [10]: its commit time
-- [11..]: the users of a direct chat
local roster, is_restored = '0', ARGV[9] ~= ''
if is_restored then
  if tonumber(ARGV[9]) ~= head + 1 then return { 'elsewhere' } end
elseif ARGV[8] == '1' then
  local found = redis.call('HMGET', ROSTER, 'version', 'm ' .. ARGV[7])
  if not found[2] then return { 'stranger' } end
  roster = found[1]
end
local first = not is_restored and redis.call('HGET', CIDS, ARGV[2])
if first then
  local text = redis.call('HGET', MESSAGES, first)
  local ts, at, late, rest = match(text, '^%d+ (%d+) (%d+) ([01]) (.*)$')
  if rest ~= ARGV[4] then return { 'conflict' } end
  return { 'dup', first, ts, at, late, roster }
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
if is_restored then now = tonumber(ARGV[10]) end
local ts = tonumber(ARGV[5]) or max(now, high)
if not is_restored and ts > now + tonumber(ARGV[6]) and ARGV[5] ~= '' then return { 'future' } end
local late = ts < high and '1' or '0'
local seq = format('%.0f', head + 1)
local ts_text, at_text = format('%.0f', ts), format('%.0f', now)

enter_life()
local reply = { 'stored', seq, ts_text, at_text, late, roster }
local is_direct = #ARGV > 10
if is_direct and head == 0 then
  for at = 11, #ARGV do
    if redis.call('HEXISTS', ACKS, ARGV[at]) == 0 then reply[#reply + 1] = ARGV[at] end
  end
end
local text = table.concat({ ARGV[3], ts_text, at_text, late, ARGV[4] }, ' ')
redis.call('HSET', MESSAGES, seq, text) -- effect: message
redis.call('ZADD', TIMES, ts_text, format('%016.0f', head + 1)) -- effect: time
if late == '1' then
  redis.call('ZADD', LATE, seq, seq .. ' ' .. ARGV[7]) -- effect: late
end
redis.call('HSET', CIDS, ARGV[2], seq) -- effect: cid
redis.call('HSET', META, 'head', seq) -- effect: head
redis.call('HSET', META, 'high', format('%.0f', max(ts, high))) -- effect: high
redis.call('HSET', META, 'at', at_text) -- effect: at
if is_direct then
  -- Who writes was here as if by an open: the acknowledgement starts at 0.
  redis.call('HSETNX', ACKS, ARGV[7], ARGV[1] .. ' 0') -- effect: joined
end
return reply
