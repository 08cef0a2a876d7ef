-- Deletes a consumer. A later one of the same name has another incarnation and stays. It is safe to send it again.
--
-- KEYS  1 consumers
-- ARGV  1 name  2 incarnation; "0": any
--       3 positions, or nothing: a consumer that has others by now, or whose lease runs, stays
-- Returns "ok", or "used" if the consumer stays because of 3.

local consumer = read(KEYS[1], ARGV[1])
if consumer.incarnation ~= ARGV[2] and ARGV[2] ~= '0' then return 'ok' end
if ARGV[3] and consumer.incarnation and (left(consumer, now()) > 0 or consumer.positions ~= ARGV[3]) then return 'used' end
redis.call('HDEL', KEYS[1], unpack(fields_of(ARGV[1])))
return 'ok'
