-- Put a value, or nothing, where exactly the expected one lies: the one way in which a session's key is written.
-- KEYS[1] the session's key, KEYS[2] its claim, KEYS[3] checkout:pending (left out in a cluster, where it is elsewhere).
-- ARGV: 1 'swap'; or where nothing is expected, 'fill' for the holder of the claim, and 'create' for whoever brings a
-- session from another server; 2 the exact bytes that are expected, for a fill our claim's token; 3 the new value, or ''
-- to delete; 4 its TTL (ms; 0: it never ends; -1: it stays as it is); 5 the session's id; 6 what becomes of its entry in
-- checkout:pending: 'add', 'remove' or 'keep'.
-- Returns {1} where it was done; {0, value} where something else lies there; {0} where nothing does.
-- Whoever writes or deletes ends every claim, and so does who finds the key missing: a filler that read the database
-- before this moment must not fill it with what it has read.
local value = redis.call('GET', KEYS[1])
if ARGV[1] ~= 'swap' then
  if value then
    return {0, value}
  end
  local ours = ARGV[1] == 'create' or ARGV[2] ~= '' and redis.call('GET', KEYS[2]) == ARGV[2]
  redis.call('DEL', KEYS[2])
  if not ours then
    return {0}
  end
elseif value ~= ARGV[2] then
  if value then
    return {0, value}
  end
  redis.call('DEL', KEYS[2])
  return {0}
end
redis.call('DEL', KEYS[2])
if KEYS[3] and ARGV[6] == 'add' then
  redis.call('SADD', KEYS[3], ARGV[5])
end
if ARGV[3] == '' then
  redis.call('DEL', KEYS[1])
elseif ARGV[4] == '-1' then
  redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL')
elseif ARGV[4] == '0' then
  redis.call('SET', KEYS[1], ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
end
if KEYS[3] and ARGV[6] == 'remove' then
  redis.call('SREM', KEYS[3], ARGV[5])
end
return {1}
