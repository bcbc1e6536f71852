-- Merges an acknowledgement: a union.
-- ARGV[2]: user  [3]: up to here  [4..]: lo, hi of half-open ranges
local user, up_to = ARGV[2], tonumber(ARGV[3])
local before = acked_by(user) or { up_to = 0, ranges = {} }
local ranges, last = {}, up_to
for _, range in ipairs(before.ranges) do ranges[#ranges + 1] = range end
for at = 4, #ARGV, 2 do
  local lo, hi = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  ranges[#ranges + 1] = { lo, hi }
  last = max(last, hi - 1)
end
if last > head then return { 'above' } end
table.sort(ranges, function(one, other) return one[1] < other[1] end)
local acked = { up_to = max(before.up_to, up_to), ranges = {} }
for _, range in ipairs(ranges) do
  local end_range = acked.ranges[#acked.ranges]
  if range[1] <= acked.up_to + 1 then
    acked.up_to = max(acked.up_to, range[2] - 1)
  elseif end_range and range[1] <= end_range[2] then
    end_range[2] = max(end_range[2], range[2])
  else
    acked.ranges[#acked.ranges + 1] = { range[1], range[2] }
  end
end
if #acked.ranges > ACKED_RANGES_MAX then return { 'many' } end
local text = acked_text(acked)
if text ~= acked_text(before) then
  enter_life()
  redis.call('HSET', ACKS, user, text) -- effect: acked
end
local unread, more = unread_of(acked, user, false)
return { 'merged', text, unread, more }
