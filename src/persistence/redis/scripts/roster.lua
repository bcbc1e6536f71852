-- Who is in a group: "m user" and "joined since life" of each.
local fields = redis.call('HGETALL', ROSTER)
local version, owner, members = 0, '', {}
for at = 1, #fields, 2 do
  if fields[at] == 'version' then
    version = fields[at + 1]
  elseif fields[at] == 'owner' then
    owner = fields[at + 1]
  else
    members[#members + 1] = fields[at]
    members[#members + 1] = fields[at + 1]
  end
end
return { 'ok', head, version, owner, members }
