-- The newest message by number, and what is unread.
-- ARGV[2]: user
local joined = acked_by(ARGV[2])
local acked = joined or { up_to = 0, ranges = {} }
local items = {}
if head > 0 then items = page_of({ head }, 1, PAGE_BYTES_MAX) end
local unread, more = unread_of(acked, ARGV[2], false)
return { 'ok', unread, more, joined and joined.up_to or -1, items }
