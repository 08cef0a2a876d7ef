-- Commits one record, its feed entries and its index entry, if nobody wrote in between.
--
-- KEYS  1 record  2 feed  3 meta
--       then, where the index is in this script: the key of each ZREM, and of the ZADD last
-- ARGV  1 header expected ("" = no record)   2 the record to store, header first
--       3 epoch for a partition without one  4 MAXLEN of the feed
--       5 nonce                              6 session id
--       7 number of ZREM keys (0 or 1)       8 number of ZADD keys (0 or 1)
--       9 score of the ZADD                 10 members kept in an index
--      11... the revisions made, ascending (may be none)
-- Returns {"ok"}, or {"conflict", record} or {"conflict"} without a record.
--
-- The client sends a script again when the answer was lost, up to four times. The header carries a
-- nonce of its own for each commit, so a record with our header is our own commit: success, and
-- nothing is done twice. All of the header is compared, not the counter alone: after a failover that
-- lost writes the same counter comes again with another record.
--
-- Redis does not undo a script that fails half way. What may fail (wrong types) is read first.

local record, feed, meta = KEYS[1], KEYS[2], KEYS[3]
local rem = ARGV[7] == '1' and KEYS[4]
local ref = ARGV[8] == '1' and KEYS[#KEYS]

local header = redis.call('GETRANGE', record, '0', '11')
if header == string.sub(ARGV[2], 1, 12) then
  return {'ok'}
end
if header ~= ARGV[1] then
  local current = redis.call('GET', record)
  if current then
    return {'conflict', current}
  end
  return {'conflict'}
end
if rem then redis.call('ZCARD', rem) end
if ref then redis.call('ZCARD', ref) end
redis.call('XLEN', feed)

ensure_epoch(meta, feed, ARGV[3])
local moved = false
if rem then redis.call('ZREM', rem, ARGV[6]) end
if ref then
  local _
  _, moved = add(ref, ARGV[6], ARGV[9], ARGV[10])
end
for i = 11, #ARGV do
  append(meta, feed, ARGV[4], ARGV[5], ARGV[6], ARGV[i], moved and i == #ARGV)
end
if moved and #ARGV == 10 then
  append(meta, feed, ARGV[4], ARGV[5], ARGV[6], '0', true)
end
redis.call('SET', record, ARGV[2])
return {'ok'}
