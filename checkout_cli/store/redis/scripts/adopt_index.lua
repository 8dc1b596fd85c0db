-- Put our index at checkout:index, and what is there, if it is an older program's SET, aside; no member is copied.
-- KEYS: checkout:index, where ours lies beside it, and where the SET is to wait, all in one slot.
-- Returns "adopted", or why not: "waiting" (an earlier SET is there still), or "other" (what is there is no SET).
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'set' and kind ~= 'none' then
  return 'other'
end
local beside = redis.call('TYPE', KEYS[2]).ok
if beside ~= 'zset' and beside ~= 'none' then
  return redis.error_reply('WRONGTYPE what lies beside the index is none')
end
if kind == 'set' then
  if redis.call('EXISTS', KEYS[3]) == 1 then
    return 'waiting'
  end
  redis.call('RENAME', KEYS[1], KEYS[3])
end
if beside == 'zset' then
  redis.call('RENAME', KEYS[2], KEYS[1])
end
return 'adopted'
