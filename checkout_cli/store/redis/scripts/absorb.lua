-- Move entries that lie beside our index into it: a process that did not know yet that ours is at its own place left
-- them. KEYS: checkout:index, and what lies beside it; ARGV: how many at most. Returns how many; none where
-- checkout:index is not ours any more.
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' or redis.call('TYPE', KEYS[2]).ok ~= 'zset' then
  return 0
end
local found = redis.call('ZRANGE', KEYS[2], 0, ARGV[1] - 1, 'WITHSCORES')
local entries = {}
for place = 1, #found, 2 do
  entries[place], entries[place + 1] = found[place + 1], found[place]
end
redis.call('ZADD', KEYS[1], 'GT', unpack(entries))
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, #found / 2 - 1)
return #found / 2
