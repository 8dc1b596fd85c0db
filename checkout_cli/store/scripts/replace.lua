-- Write to Redis alone, while the database is away (ARCHITECTURE.md, point 8).
-- KEYS[1] the session's key, KEYS[2] checkout:pending (in a cluster it is elsewhere, and left out); ARGV: the exact bytes that were read, or '' to create;
-- our token for creating, the new value, TTL (ms), the id. Returns 1 where it was written, else 0.
-- Both keys change together: a value that nobody knows of would never reach the database.
local value = redis.call('GET', KEYS[1])
if ARGV[1] ~= '' then
  if value ~= ARGV[1] then
    return 0
  end
elseif not value or string.sub(value, 1, 6 + #ARGV[2]) ~= 'fill:' .. ARGV[2] .. ':' then
  return 0
end
if KEYS[2] then
  redis.call('SADD', KEYS[2], ARGV[5])
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
