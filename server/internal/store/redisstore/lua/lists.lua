-- Shared by the scripts that write the lists; put in front of each.

-- place puts a session into a list at a second, or takes it out with "-". It forgets the oldest
-- beyond cap; with "0" none.
local function place(list, session, second, cap)
  if second == '-' then
    redis.call('ZREM', list, session)
    return
  end
  redis.call('ZADD', list, second, session)
  if cap ~= '0' then
    redis.call('ZREMRANGEBYRANK', list, '0', '-' .. string.format('%.0f', tonumber(cap) + 1))
  end
end

