-- Take ids out of the index, except those that somebody has moved past a moment meanwhile: they live again.
-- KEYS: our index, and the SET of an older program, if there is one; ARGV: the moment (ms), then the ids.
-- Returns how many were taken out. An id that only the SET has is taken out of it.
-- All at once, not id by id: a call from Lua costs more than what it does here. Up to 7,000 ids fit onto Lua's stack.
local moment = tonumber(ARGV[1])
local scores = redis.pcall('ZMSCORE', KEYS[1], unpack(ARGV, 2))
if scores.err then
  return scores
end
local dead = {}
for place, score in ipairs(scores) do
  if not score or tonumber(score) <= moment then
    dead[#dead + 1] = ARGV[place + 1]
  end
end
if #dead == 0 then
  return 0
end
local removed = redis.call('ZREM', KEYS[1], unpack(dead))
if KEYS[2] and redis.call('TYPE', KEYS[2]).ok == 'set' then
  removed = math.max(removed, redis.call('SREM', KEYS[2], unpack(dead)))
end
return removed
