-- Keep a lock that is still ours. KEYS[1] the lock; ARGV: what we wrote there, its new time to live (ms).
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
