-- Invalidate all of a cache, or what one scope covers, in one write. KEYS[1] the generation's key; ARGV: a token nobody
-- has used, the scope or '' for all, for how long a scope is remembered (ms), how many scopes are.
-- The text is "TOKEN FLOOR SEQUENCE", then a line "SEQUENCE MOMENT SCOPE" for each scope. What is dropped raises the
-- floor: whatever was computed before it counts as invalidated too, so that no slow writer comes out on top.
-- Where anything in the text cannot be read, all of it is replaced: with another token, everything is invalidated.
local function readable(number)
  return number and #number <= 15 and tonumber(number)
end

local function parsed(text)
  local head, rest = string.match(text, '^([^\n]*)(.*)$')
  local token, floor, sequence = string.match(head, '^(%x+) (%d+) (%d+)$')
  floor, sequence = readable(floor), readable(sequence)
  if not (floor and sequence and floor <= sequence) then
    return nil
  end
  local scopes = {}
  for line in string.gmatch(rest, '\n([^\n]*)') do
    local number, moment, scope = string.match(line, '^(%d+) (%d+) (.+)$')
    if not (readable(number) and readable(moment)) then
      return nil
    end
    scopes[#scopes + 1] = {tonumber(number), moment, scope}
  end
  return token, floor, sequence, scopes
end

local text = redis.pcall('GET', KEYS[1])
local token, floor, sequence, scopes
if type(text) == 'string' then
  token, floor, sequence, scopes = parsed(text)
end
if not token then
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[1], ARGV[1] .. ' 0 0')
  return 0
end
sequence = sequence + 1
local kept = {}
if ARGV[2] == '' then
  floor = sequence
else
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  for _, known in ipairs(scopes) do
    if now - tonumber(known[2]) > tonumber(ARGV[3]) then
      floor = math.max(floor, known[1])
    else
      kept[#kept + 1] = known
    end
  end
  kept[#kept + 1] = {sequence, string.format('%d', now), ARGV[2]}
  while #kept > tonumber(ARGV[4]) do
    floor = math.max(floor, table.remove(kept, 1)[1])
  end
end
local lines = {string.format('%s %d %d', token, floor, sequence)}
for _, line in ipairs(kept) do
  lines[#lines + 1] = string.format('%d %s %s', line[1], line[2], line[3])
end
redis.call('SET', KEYS[1], table.concat(lines, '\n'))
return sequence
