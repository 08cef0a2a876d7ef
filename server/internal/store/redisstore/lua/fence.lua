-- Writes what a record begins with once more, so that a WAIT on this connection covers every write
-- before: WAIT looks at what its own connection has written only.
--
-- KEYS  1 record
-- ARGV  1 header expected
-- Returns "1", or "0" where the record is another one.

if redis.call('GETRANGE', KEYS[1], '0', '11') ~= ARGV[1] then
  return '0'
end
redis.call('SETRANGE', KEYS[1], '0', ARGV[1])
return '1'
