-- Let a session live for at least so long. KEYS[1] its key; ARGV[1] the time to live (ms).
-- Returns the time to live (ms) that it has then; -1 without an end; -2 where it is missing.
-- A read may have granted more meanwhile, which must not be taken back.
local ttl = redis.call('PTTL', KEYS[1])
if ttl >= 0 and ttl < tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  return tonumber(ARGV[1])
end
return ttl
