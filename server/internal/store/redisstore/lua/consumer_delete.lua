-- Deletes a consumer. A later one of the same name has another incarnation and stays. It is safe to send it again.
--
-- KEYS  1 consumers
-- ARGV  1 name  2 incarnation
-- Returns "ok".

if read(KEYS[1], ARGV[1]).incarnation == ARGV[2] then
  redis.call('HDEL', KEYS[1], unpack(fields_of(ARGV[1])))
end
return 'ok'
