-- Take our own claim back. KEYS[1] the session's key; ARGV[1] our token.
-- Whatever else is there by now, such as the session of another program, is not ours to remove.
local value = redis.call('GET', KEYS[1])
local ours = 'fill:' .. ARGV[1] .. ':'
if value and string.sub(value, 1, #ours) == ours then
  return redis.call('DEL', KEYS[1])
end
return 0
