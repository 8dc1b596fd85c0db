-- Bring a hash from another server, unless the key is there. KEYS[1] the key; ARGV: its time to live (ms; 0: it never ends), names and values.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
for place = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
end
if ARGV[1] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 1
