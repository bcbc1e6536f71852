-- Makes the conversation the user's, and answers the page, or the bridge; all of one moment.
-- ARGV[2]: user  [3]: '1' in a direct chat  [4]: the other user of a direct chat of two, or ''
-- [5]: limit  [6]: the seq to bridge from, or ''
local user, is_direct, limit = ARGV[2], ARGV[3] == '1', tonumber(ARGV[5])
local became = 0
local acked = acked_by(user)
if not acked then
  -- The first message of a direct chat made it both users'.
  became = (is_direct and head > 0) and 0 or 1
  acked = { up_to = is_direct and 0 or head, ranges = {} }
  enter_life()
  redis.call('HSET', ACKS, user, acked_text(acked)) -- effect: joined
end

local kind, items, older, late, late_next = 'page', nil, 0, {}, nil
local page_ts, page_seq
local resume = tonumber(ARGV[6])
if resume and resume <= head and head - resume <= RESUME_MAX then
  local missing, bytes, more = page_of(seqs_from(resume + 1, head), head, PAGE_BYTES_MAX)
  if not more then
    kind, items = 'bridge', missing
    page_ts, page_seq = 0, 0
  end
end
if kind == 'page' then
  local bytes, skip = 0, {}
  items = {}
  if limit == 0 then
    older = head > 0 and 1 or 0
  else
    local seqs = redis.call('ZREVRANGE', TIMES, 0, limit)
    for at, member in ipairs(seqs) do seqs[at] = tonumber(member) end
    local newest, taken, more = page_of(seqs, limit, PAGE_BYTES_MAX)
    bytes, older = taken, more and 1 or 0
    for at = #newest, 1, -1 do
      items[#items + 1] = newest[at]
      skip[seqs[at]] = true
    end
    if #newest > 0 then
      page_seq = seqs[#newest]
      page_ts = tonumber(match(items[1], '^%d+ %d+ (%d+)'))
    end
  end
  late, late_next = late_page(acked, user, acked.up_to, skip, LATE_MAX, PAGE_BYTES_MAX - bytes)
end

local unread, more, before = unread_of(acked, user, true, page_ts, page_seq)
-- A scan that was cut says "at least one", but a bridge has nothing before it.
if kind == 'bridge' then before = 0 end
local mutual = 0
if ARGV[4] ~= '' then mutual = redis.call('HEXISTS', ACKS, ARGV[4]) end
return {
  'ok', head, became, mutual, acked_text(acked), unread, more, unread_late_count(acked, user), before,
  kind, older, late_next or -1, items, late,
}
