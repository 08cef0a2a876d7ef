-- Takes, prolongs or releases a lease. It is safe to send it again.
--
-- KEYS  1 lease
-- ARGV  1 holder  2 milliseconds; "0" releases the lease
-- Returns "1" if the holder has the lease or has released it, or "0" if another holder has it.

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
