-- Move members of a SET that was put aside into our index, where they are not in it yet; none can be lost on the way.
-- KEYS: our index, and the SET; ARGV: how many at most, and the moment (ms) for new entries. Returns how many members
-- were looked at and how many were new.
local kind = redis.call('TYPE', KEYS[1]).ok
if (kind ~= 'zset' and kind ~= 'none') or redis.call('TYPE', KEYS[2]).ok ~= 'set' then
  return {0, 0}
end
local members = redis.call('SRANDMEMBER', KEYS[2], ARGV[1])
local entries = {}
for place, member in ipairs(members) do
  entries[2 * place - 1], entries[2 * place] = ARGV[2], member
end
local new = redis.call('ZADD', KEYS[1], 'NX', unpack(entries))
redis.call('SREM', KEYS[2], unpack(members))
return {#members, new}
