-- Takes, prolongs or releases the lease of a consumer. It is safe to send it again.
--
-- No lease runs longer than the duration that is asked for here: after a failover the clock of the new master can be
-- behind the clock that the end was made by, and no other stream would get the lease for that long.
--
-- KEYS  1 consumers
-- ARGV  1 name  2 incarnation  3 stream  4 holder  5 milliseconds; "0" releases the lease
-- Returns {"held", "0"}, {"busy", milliseconds that the lease of another stream still runs}, or {"none", "0"} if there is no
-- consumer of this name and incarnation.

local key, name, stream, duration = KEYS[1], ARGV[1], ARGV[3], tonumber(ARGV[5])
local consumer, at = read(key, name), now()
if consumer.incarnation ~= ARGV[2] then return {'none', '0'} end
local runs = left(consumer, at)
if runs > 0 and consumer.stream ~= stream then
  if duration > 0 and runs > duration then
    runs = duration
    redis.call('HSET', key, 'until:' .. name, integer(at + runs))
  end
  return {'busy', integer(runs)}
end
if duration > 0 then
  redis.call('HSET', key, 'stream:' .. name, stream, 'holder:' .. name, ARGV[4], 'until:' .. name, integer(at + duration))
elseif consumer.stream == stream then
  redis.call('HDEL', key, 'stream:' .. name, 'holder:' .. name, 'until:' .. name)
end
return {'held', '0'}
