-- Reads the members of a sorted set after a cursor, the greatest (score, member) first.
--
-- KEYS  1 sorted set
-- ARGV  1 score of the cursor; "+inf" for the beginning  2 its member, which need not exist
--       3 how many members
-- Returns {member, score, member, score, ...}.
--
-- A binary search finds the cursor among the members with its score, because one second can have very many members.

local from = 0
if ARGV[1] ~= '+inf' then
  from = redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[1], '+inf')
  local to = from + redis.call('ZCOUNT', KEYS[1], ARGV[1], ARGV[1])
  while from < to do
    local middle = math.floor((from + to) / 2)
    local member = redis.call('ZREVRANGE', KEYS[1], string.format('%.0f', middle), string.format('%.0f', middle))[1]
    if is_before(member, ARGV[2]) then
      to = middle
    else
      from = middle + 1
    end
  end
end
local last = from + tonumber(ARGV[3]) - 1
return redis.call('ZREVRANGE', KEYS[1], string.format('%.0f', from), string.format('%.0f', last), 'WITHSCORES')
