-- What was invalidated of a cache; where nothing usable says so, everything was. KEYS[1] the generation's key;
-- ARGV[1] a token nobody has used. Returns the text, as it was or as it is from now on.
local text = redis.pcall('GET', KEYS[1])
if type(text) == 'string' and string.match(text, '^%x+ %d+ %d+') then
  return text
end
text = ARGV[1] .. ' 0 0'
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], text)
return text
