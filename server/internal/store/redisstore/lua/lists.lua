-- Shared by the scripts that write sets of sessions by their seconds; put in front of each.

-- place puts a session into a set at a second, or takes it out with "-". It forgets the oldest
-- beyond cap; with "0" none. It returns nothing, or the error with which nothing was changed.
local function place(set, session, second, cap)
  local answer
  if second == '-' then
    answer = redis.pcall('ZREM', set, session)
  else
    answer = redis.pcall('ZADD', set, second, session)
  end
  if type(answer) == 'table' and answer.err then return answer end
  if second ~= '-' and cap ~= '0' then
    redis.call('ZREMRANGEBYRANK', set, '0', '-' .. string.format('%.0f', tonumber(cap) + 1))
  end
end
