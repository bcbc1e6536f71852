-- Messages above a number, ascending.
-- ARGV[2]: the number  [3]: limit
local after, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local items, _, more = page_of(seqs_from(after + 1, min(head, after + limit + 1)), limit, PAGE_BYTES_MAX)
return { 'ok', more and 1 or 0, items }
