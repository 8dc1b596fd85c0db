-- Look again, and claim the right to fill the key if it is missing.
-- KEYS[1] the session's key; ARGV: our token, the session's TTL (ms), for how long a claim holds (ms).
-- Returns {value} or {false, 1} where the claim is ours, {false, 0} where it is another's.
-- A claim is "fill:TOKEN:TIME", no JSON, so that other programs see a miss. GETEX slides claims too, so their age
-- is judged by the time in them: a filler that died costs the claim's time, not the session's.
local value = redis.call('GETEX', KEYS[1], 'PX', ARGV[2])
if value and string.sub(value, 1, 5) ~= 'fill:' then
  return {value}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if value then
  local claimed = tonumber(string.match(value, ':(%d+)$'))
  if claimed and now - claimed < tonumber(ARGV[3]) then
    return {false, 0}
  end
end
redis.call('SET', KEYS[1], 'fill:' .. ARGV[1] .. ':' .. string.format('%d', now), 'PX', ARGV[3])
return {false, 1}
