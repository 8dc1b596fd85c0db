-- Give a key that never ends a time to live, unless somebody has done so. KEYS[1] the key; ARGV[1] its time to live (ms).
if redis.call('PTTL', KEYS[1]) == -1 then
  return redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 0
