-- The database has what was undrained: take it out, unless more was written meanwhile (ARCHITECTURE.md, point 9).
-- KEYS[1] the session's key, KEYS[2] checkout:pending (in a cluster it is elsewhere, and left out); ARGV: the exact bytes that were drained, the id.
-- Nothing is published here: a newer version may have been refused while this value lay in its way.
local value = redis.call('GET', KEYS[1])
if value and value ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if KEYS[2] then
  redis.call('SREM', KEYS[2], ARGV[2])
end
return 1
