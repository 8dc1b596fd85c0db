-- Take entries out of the index, each only if its score is still the one that was seen: else somebody has written
-- that session meanwhile. KEYS: our index, and the SET of an older program, if there is one, which loses the same ids.
-- ARGV: scores and ids in turn. Returns how many were taken out.
local ids = {}
for place = 2, #ARGV, 2 do
  ids[#ids + 1] = ARGV[place]
end
local scores = redis.pcall('ZMSCORE', KEYS[1], unpack(ids))
if scores.err then
  return scores
end
local dead = {}
for place, score in ipairs(scores) do
  if score and tonumber(score) == tonumber(ARGV[2 * place - 1]) then
    dead[#dead + 1] = ids[place]
  end
end
if #dead == 0 then
  return 0
end
if KEYS[2] and redis.call('TYPE', KEYS[2]).ok == 'set' then
  redis.call('SREM', KEYS[2], unpack(dead))
end
return redis.call('ZREM', KEYS[1], unpack(dead))
