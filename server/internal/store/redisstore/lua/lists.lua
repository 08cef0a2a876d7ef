-- Shared by the scripts that write sorted sets of sessions by their seconds. It is put in front of each.

-- set_second sets the second of a session in a set. "-" removes the session from the set. It removes the oldest
-- members beyond cap; "0" keeps all. It returns nothing, or an error if it has changed nothing.
local function set_second(set, session, second, cap)
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
