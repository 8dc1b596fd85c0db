-- Note a user's checkout. KEYS[1] the user's hash; ARGV: its time to live (ms), the moment (ISO 8601), the payment
-- status or '', then the names of the counters to raise.
-- Where something other than a hash lies there, the first command fails, and nothing is changed or given an end.
redis.call('HSETNX', KEYS[1], 'firstSeen', ARGV[2])
local last = redis.call('HGET', KEYS[1], 'lastSeen')
if not last or last <= ARGV[2] then -- else a publish is late, and somebody has noted a later checkout already
  if ARGV[3] ~= '' then
    redis.call('HSET', KEYS[1], 'lastSeen', ARGV[2], 'lastStatus', ARGV[3])
  else
    redis.call('HSET', KEYS[1], 'lastSeen', ARGV[2])
  end
end
for place = 4, #ARGV do
  redis.call('HINCRBY', KEYS[1], ARGV[place], 1)
end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
