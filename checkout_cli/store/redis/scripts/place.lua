-- Enter a session into the index, or take it out, at the place where the caller believes ours to be: else nothing.
-- KEYS: checkout:index, and where ours lies beside it; ARGV: the place, the id, and the moment (ms), empty to take out.
-- Returns whether it was done. What the caller may have left beside an index that is at its own place goes too.
local kind, beside = redis.call('TYPE', KEYS[1]).ok, redis.call('TYPE', KEYS[2]).ok
local ours, id, moment = KEYS[2], ARGV[2], ARGV[3]
if ARGV[1] == 'own' then
  if kind ~= 'zset' and (kind ~= 'none' or beside == 'zset') then
    return 0
  end
  ours = KEYS[1]
  if beside == 'zset' then
    redis.call('ZREM', KEYS[2], id)
  end
elseif beside ~= 'zset' and beside ~= 'none' then
  return redis.error_reply('WRONGTYPE what lies beside the index is none')
elseif ARGV[1] == 'beside a set' then
  if kind ~= 'set' and kind ~= 'none' then
    return 0
  end
  redis.call(moment == '' and 'SREM' or 'SADD', KEYS[1], id)
end
if moment == '' then
  redis.call('ZREM', ours, id)
else
  redis.call('ZADD', ours, 'GT', moment, id)
end
return 1
