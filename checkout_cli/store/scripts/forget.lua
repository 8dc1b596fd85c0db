-- Nothing waits for the database at this key: take the id out of checkout:pending, unless a write has come meanwhile.
-- KEYS[1] the session's key, KEYS[2] checkout:pending; ARGV: the id. Returns 1 where it was taken out, else 0.
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'string' and string.find(value, '^{"version":%d+,"stamp":"[^"]*","undrained":%[') then
  return 0
end
return redis.call('SREM', KEYS[2], ARGV[1])
