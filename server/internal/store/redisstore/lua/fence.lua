-- Writes the header of a record again, so that a WAIT on this connection covers every write before. WAIT covers only
-- the writes of its own connection.
--
-- KEYS  1 record
-- ARGV  1 header expected
-- Returns "1", or "0" if the record has another header.

if redis.call('GETRANGE', KEYS[1], '0', '11') ~= ARGV[1] then
  return '0'
end
redis.call('SETRANGE', KEYS[1], '0', ARGV[1])
return '1'
