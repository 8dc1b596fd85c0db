-- Look again, and claim the right to fill the key if it is missing.
-- KEYS[1] the session's key, KEYS[2] its claim; ARGV: our token, the session's TTL (ms), for how long a claim holds (ms).
-- Returns {value}, or {false, 1} where the claim is ours, {false, 0} where it is another's.
local value = redis.call('GETEX', KEYS[1], 'PX', ARGV[2])
if value then
  return {value}
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[3]) then
  return {false, 1}
end
return {false, 0}
