-- What scripts that read share. A stored message is "wire ts at late from cid type content": `wire` is
-- what it counts for in a page. Seqs and times are below 2^53, so Lua's numbers hold them exactly.
local CHUNK = 50

local function acked_by(user)
  local text = redis.call('HGET', ACKS, user)
  if not text then return nil end
  local numbers = {}
  for number in string.gmatch(text, '%d+') do numbers[#numbers + 1] = tonumber(number) end
  local limit = head
  for began, ended in string.gmatch(cuts, '(%d+) (%d+) ') do
    if tonumber(began) > numbers[1] then limit = min(limit, tonumber(ended)) end
  end
  local acked = { up_to = min(numbers[2], limit), ranges = {} }
  for at = 3, #numbers, 2 do
    local hi = min(numbers[at + 1], limit + 1)
    if numbers[at] < hi then table.insert(acked.ranges, { numbers[at], hi }) end
  end
  return acked
end

-- "generation up_to lo hi lo hi …"
local function acked_text(acked)
  local parts = { ARGV[1], format('%.0f', acked.up_to) }
  for _, range in ipairs(acked.ranges) do
    parts[#parts + 1] = format('%.0f %.0f', range[1], range[2])
  end
  return table.concat(parts, ' ')
end

local function is_acked(acked, seq)
  if seq <= acked.up_to then return true end
  local ranges = acked.ranges
  local low, high_index = 1, #ranges
  while low <= high_index do
    local middle = floor((low + high_index) / 2)
    if seq < ranges[middle][1] then
      high_index = middle - 1
    elseif seq >= ranges[middle][2] then
      low = middle + 1
    else
      return true
    end
  end
  return false
end

-- The stored texts of some seqs.
local function texts_of(seqs, first, last)
  local fields = {}
  for at = first, last do fields[#fields + 1] = format('%.0f', seqs[at]) end
  local texts = redis.call('HMGET', MESSAGES, unpack(fields))
  for at = 1, #fields do
    if not texts[at] then error('message ' .. fields[at] .. ' is missing') end
  end
  return texts
end

local function item(seq, text) return format('%.0f ', seq) .. text end

-- Messages in the order of `seqs`, up to a count and a number of bytes; the first always fits. The third
-- result: some did not come in.
local function page_of(seqs, limit, bytes_max)
  local items, bytes = {}, 0
  for first = 1, #seqs, CHUNK do
    local texts = texts_of(seqs, first, min(first + CHUNK - 1, #seqs))
    for at, text in ipairs(texts) do
      local wire = tonumber(match(text, '^%d+'))
      if #items == limit or (bytes + wire > bytes_max and #items > 0) then
        return items, bytes, true
      end
      bytes = bytes + wire
      items[#items + 1] = item(seqs[first + at - 1], text)
    end
  end
  return items, bytes, false
end

local function seqs_from(first, last)
  local seqs = {}
  for seq = first, last do seqs[#seqs + 1] = seq end
  return seqs
end

-- Unread late messages above `after` that `skip` does not hold; the second result is where to go on.
local function late_page(acked, user, after, skip, limit, bytes_max)
  local items, bytes, looked_at, last = {}, 0, 0, after
  local above = max(after, acked.up_to)
  while true do
    local members = redis.call('ZRANGEBYSCORE', LATE, format('(%.0f', above), '+inf', 'LIMIT', 0, CHUNK)
    local seqs, wanted = {}, {}
    for at, member in ipairs(members) do
      local seq, from = match(member, '^(%d+) (.*)$')
      seq = tonumber(seq)
      above = seq
      seqs[at] = seq
      if from ~= user and not is_acked(acked, seq) and not skip[seq] then wanted[#wanted + 1] = seq end
    end
    local texts, next_wanted = {}, 1
    if #wanted > 0 then texts = texts_of(wanted, 1, #wanted) end
    for _, seq in ipairs(seqs) do
      local is_wanted = wanted[next_wanted] == seq
      local wire = is_wanted and tonumber(match(texts[next_wanted], '^%d+')) or 0
      local full = is_wanted and (#items == limit or bytes + wire > bytes_max)
      if full or looked_at == SCAN_MAX then return items, last end
      looked_at = looked_at + 1
      last = seq
      if is_wanted then
        bytes = bytes + wire
        items[#items + 1] = item(seq, texts[next_wanted])
        next_wanted = next_wanted + 1
      end
    end
    if #members < CHUNK then return items, nil end
  end
end

-- Unread messages of others: count, more, and those on time that are before (page_ts, page_seq); a nil
-- page_ts: all of them are. Without `with_before` the scan may end sooner.
local function unread_of(acked, user, with_before, page_ts, page_seq)
  local looked_at, unread, before, cut = 0, 0, 0, false
  local seq = acked.up_to + 1
  while seq <= head do
    local seqs = seqs_from(seq, min(seq + CHUNK - 1, head))
    for at, text in ipairs(texts_of(seqs, 1, #seqs)) do
      if looked_at == SCAN_MAX then
        cut = true
        break
      end
      looked_at = looked_at + 1
      local ts, late, from = match(text, '^%d+ (%d+) %d+ ([01]) (%S+) ')
      ts = tonumber(ts)
      if from ~= user and not is_acked(acked, seqs[at]) then
        unread = unread + 1
        if late == '0' and (not page_ts or ts < page_ts or (ts == page_ts and seqs[at] < page_seq)) then
          before = before + 1
        end
      end
    end
    if cut or (unread > UNREAD_MAX and (not with_before or before >= UNREAD_MAX)) then break end
    seq = seqs[#seqs] + 1
  end
  if cut then before = max(before, 1) end
  local more = (cut or unread > UNREAD_MAX) and 1 or 0
  return min(unread, UNREAD_MAX), more, min(before, UNREAD_MAX)
end

-- From the index of late messages, so that late ones are seen also where the general scan stops early.
local function unread_late_count(acked, user)
  local members =
    redis.call('ZRANGEBYSCORE', LATE, format('(%.0f', acked.up_to), '+inf', 'LIMIT', 0, SCAN_MAX + 1)
  local count = 0
  for at, member in ipairs(members) do
    if at > SCAN_MAX then return max(count, 1) end
    local seq, from = match(member, '^(%d+) (.*)$')
    if from ~= user and not is_acked(acked, tonumber(seq)) then count = count + 1 end
    if count == UNREAD_MAX then break end
  end
  return count
end
