-- Let a session live for at least so long. KEYS[1] its key; ARGV[1] the time to live (ms).
-- Returns the time to live (ms) that it has then; -1 without an end; -2 where nothing but a claim is there.
-- A read may have granted more meanwhile, which must not be taken back.
local ttl = redis.call('PTTL', KEYS[1])
if ttl == -2 or ttl == -1 then
  return ttl
end
if string.sub(redis.call('GET', KEYS[1]), 1, 5) == 'fill:' then
  return -2
end
if ttl < tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  return tonumber(ARGV[1])
end
return ttl
