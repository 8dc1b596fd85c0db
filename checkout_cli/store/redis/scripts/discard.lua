-- Delete the key if it still holds exactly these bytes. KEYS[1] the key; ARGV[1] the bytes.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
