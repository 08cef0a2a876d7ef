-- Takes, prolongs or gives up a lease. Sent again it does the same once more.
--
-- KEYS  1 lease
-- ARGV  1 holder  2 milliseconds; "0" gives it up
-- Returns "1" if the holder has the lease, or has given it up; else "0".

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return '0'
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return '1'
