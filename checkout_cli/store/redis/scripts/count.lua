-- Add to the statistics of one minute. KEYS[1] their hash; ARGV: its time to live (ms), then names and numbers in turn.
-- Where something other than a hash lies there, the first HINCRBY fails, and nothing is changed or given an end.
for place = 2, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[place], ARGV[place + 1])
end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
