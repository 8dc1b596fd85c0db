-- Take entries out of the index, each only if its score is still the one that was seen: else somebody has written
-- that session meanwhile. KEYS[1] the index; ARGV: scores and ids in turn. Returns how many were taken out.
local ids = {}
for place = 2, #ARGV, 2 do
  ids[#ids + 1] = ARGV[place]
end
local scores = redis.call('ZMSCORE', KEYS[1], unpack(ids))
local dead = {}
for place, score in ipairs(scores) do
  if score and tonumber(score) == tonumber(ARGV[2 * place - 1]) then
    dead[#dead + 1] = ids[place]
  end
end
if #dead == 0 then
  return 0
end
return redis.call('ZREM', KEYS[1], unpack(dead))
