-- History by (ts, seq).
-- ARGV[2]: from  [3]: to  [4]: 'asc' or 'desc'  [5]: limit  [6]: ts to go on beyond, or ''  [7]: its seq
local limit, descending = tonumber(ARGV[5]), ARGV[4] == 'desc'
local first = redis.call('ZCOUNT', TIMES, '-inf', '(' .. ARGV[2])
local past = redis.call('ZCOUNT', TIMES, '-inf', ARGV[3])
if ARGV[6] ~= '' then
  -- How many are before it, in (ts, seq) order: among equal times by halving.
  local low = redis.call('ZCOUNT', TIMES, '-inf', '(' .. ARGV[6])
  local high_rank = redis.call('ZCOUNT', TIMES, '-inf', ARGV[6])
  local equal_end, start = high_rank, tonumber(ARGV[7])
  while low < high_rank do
    local middle = floor((low + high_rank) / 2)
    local seq = tonumber(redis.call('ZRANGE', TIMES, middle, middle)[1])
    if seq < start then low = middle + 1 else high_rank = middle end
  end
  if descending then
    past = min(past, low)
  else
    if low < equal_end and tonumber(redis.call('ZRANGE', TIMES, low, low)[1]) == start then low = low + 1 end
    first = max(first, low)
  end
end
local seqs = {}
if first < past then
  -- One more than asked tells whether there is more.
  if descending then
    seqs = redis.call('ZRANGE', TIMES, max(first, past - limit - 1), past - 1)
    local forward = seqs
    seqs = {}
    for at = #forward, 1, -1 do seqs[#seqs + 1] = forward[at] end
  else
    seqs = redis.call('ZRANGE', TIMES, first, min(past - 1, first + limit))
  end
end
for at, member in ipairs(seqs) do seqs[at] = tonumber(member) end
local items, _, more = page_of(seqs, limit, PAGE_BYTES_MAX)
return { 'ok', more and 1 or 0, items }
