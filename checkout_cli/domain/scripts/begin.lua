-- What was invalidated of a cache; where nothing usable says so, everything was. KEYS[1] the generation's key;
-- ARGV: a token nobody has used, the text that the caller cannot read, or ''.
-- Returns the text, as it was or as it is from now on. Only the caller judges what can be read: what is replaced here is
-- nothing, no text at all, or exactly what it refused.
local text = redis.pcall('GET', KEYS[1])
if type(text) == 'string' and text ~= ARGV[2] then
  return text
end
text = ARGV[1] .. ' 0 0'
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], text)
return text
