-- Take an id out of checkout:pending, if the session's key still holds what was seen: nothing that is dirty.
-- KEYS[1] the session's key, KEYS[2] checkout:pending; ARGV: 'missing' or 'value', the exact bytes, the id.
-- Returns 1 where it was taken out, else 0.
local value = redis.pcall('GET', KEYS[1])
if ARGV[1] == 'missing' and value or ARGV[1] == 'value' and value ~= ARGV[2] then
  return 0
end
return redis.call('SREM', KEYS[2], ARGV[3])
