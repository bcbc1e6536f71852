-- Unread late messages above a number, ascending.
-- ARGV[2]: user  [3]: the number  [4]: limit
local acked = acked_by(ARGV[2]) or { up_to = 0, ranges = {} }
local items, after =
  late_page(acked, ARGV[2], tonumber(ARGV[3]), {}, tonumber(ARGV[4]), PAGE_BYTES_MAX)
return { 'ok', after or -1, items }
