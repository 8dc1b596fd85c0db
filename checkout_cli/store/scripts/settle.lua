-- Take dead ids out of the index and give the living their real expiry, unless somebody moved an entry on meanwhile.
-- KEYS[1] the index; ARGV in threes: id, the score that was seen, the new score or '' for a dead one.
-- Returns how many were taken out.
local removed = 0
for position = 1, #ARGV, 3 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[position])
  if score and tonumber(score) <= tonumber(ARGV[position + 1]) then
    if ARGV[position + 2] == '' then
      removed = removed + redis.call('ZREM', KEYS[1], ARGV[position])
    else
      redis.call('ZADD', KEYS[1], 'XX', ARGV[position + 2], ARGV[position])
    end
  end
end
return removed
