-- Move our index from checkout:index beside it, and begin a SET there, of the newest sessions, for an older program.
-- KEYS: checkout:index, and where ours is to lie; ARGV: how many of the newest. Returns "made", or why not: "stray"
-- (something lies beside already), or "other" (what is at checkout:index is no sorted set).
-- In one step, because another process that finds nothing at checkout:index would begin a new index of ours there.
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
  return 'other'
end
local beside = redis.call('TYPE', KEYS[2]).ok
if beside == 'zset' then
  return 'stray'
elseif beside ~= 'none' then
  return redis.error_reply('WRONGTYPE what lies beside the index is none')
end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('SADD', KEYS[1], unpack(redis.call('ZRANGE', KEYS[2], -ARGV[1], -1)))
return 'made'
