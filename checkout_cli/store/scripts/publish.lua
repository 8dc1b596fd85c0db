-- Put a version into the key, unless something newer is there (ARCHITECTURE.md, point 3).
-- KEYS[1] the session's key; ARGV: version, stamp, our token or '', the value or '' for a deletion, TTL (ms).
-- Every outcome is a success: set, missing, newer, undrained (the database must get that first), and cleared (what was
-- there may be trusted by nobody).
local function put()
  if ARGV[4] == '' then
    redis.call('DEL', KEYS[1])
  else
    redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
  end
  return 'set'
end

local value = redis.call('GET', KEYS[1])
if not value then
  return 'missing'
end
if string.sub(value, 1, 5) == 'fill:' then
  if ARGV[3] ~= '' and string.sub(value, 6, 6 + #ARGV[3]) == ARGV[3] .. ':' then
    return put()
  end
  redis.call('DEL', KEYS[1])
  return 'cleared'
end
local version, stamp = string.match(value, '^{"version":(%d+),"stamp":"([^"]*)"')
if not version then
  redis.call('DEL', KEYS[1])
  return 'cleared'
end
if string.find(value, '^{"version":%d+,"stamp":"[^"]*","undrained":%[') then
  return 'undrained'
end
version = tonumber(version)
local ours = tonumber(ARGV[1])
if version < ours or (version == ours and stamp ~= ARGV[2]) then
  return put()
end
return 'newer'
