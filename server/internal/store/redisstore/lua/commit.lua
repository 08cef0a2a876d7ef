-- Commits one record, its feed entries and its index entries, if no other writer has committed in between.
--
-- KEYS  1 record  2 feed  3 meta
--       then, each only if it is written: the reference that the session leaves, the reference that it gets, the
--       sets that change: due sessions and lists
-- ARGV  1 header expected ("" = no record)   2 the record to store, header first
--       3 epoch for a partition without one  4 MAXLEN of the feed
--       5 nonce of an entry without revision 6 session id
--       7 leaves a reference (0 or 1)        8 gets a reference (0 or 1)
--       9 score in the reference's index    10 members kept in it
--      11 now, in Unix seconds              12 oldest second that the feed keeps, "0" for all
--      13 milliseconds that the record lives, "0" for no limit, "-1" for as long as the record before
--      14 how many sets change; then for each set the new second, the old second ("-" for not in the set), and the
--         members kept; see lists.lua
--      then the revisions made, ascending (can be none). Each has ":" and 24 bytes of its trace appended, if there is
--      one, and is followed by the nonce of its entry
-- Returns {"ok"}, or {"conflict", record} or {"conflict"} without a record.
--
-- The client sends a script again if the answer was lost, up to four times. The header contains a nonce for each commit.
-- So a record with our header is our own commit: it was successful, and nothing is done twice. The whole header is
-- compared and not only the counter: after a failover that lost writes, the same counter comes again with another record.
--
-- Redis does not undo a script that fails half way. It can fail at a key of a foreign type. The few commits that change a
-- reference check its keys and the feed first. The sets get back the old seconds, which the arguments contain. To check
-- each set first at every commit too would cost a tenth of the commit.

local record, feed, meta = KEYS[1], KEYS[2], KEYS[3]
local id = ARGV[6]

local header = redis.call('GETRANGE', record, '0', '11')
local own = string.sub(ARGV[2], 1, 12)
if header == own then
  -- Write the header again, so that a WAIT on this connection covers the commit of another connection.
  redis.call('SETRANGE', record, '0', own)
  return {'ok'}
end
if header ~= ARGV[1] then
  local current = redis.call('GET', record)
  if current then
    return {'conflict', current}
  end
  return {'conflict'}
end

local head = read_head(meta, feed)
local at, rem, ref = 3, false, false
if ARGV[7] == '1' then
  at = at + 1
  rem = KEYS[at]
  redis.call('ZCARD', rem)
end
if ARGV[8] == '1' then
  at = at + 1
  ref = KEYS[at]
  redis.call('ZCARD', ref)
end
if rem or ref then redis.call('XLEN', feed) end

local sets, changed = tonumber(ARGV[14]), 0
-- fail restores the sets and ends the commit with an error.
local function fail(failure)
  for i = changed, 1, -1 do
    set_second(KEYS[at + i], id, ARGV[13 + 3 * i], '0')
  end
  if head.number then end_feed(head, meta, feed, ARGV[3], '0') end
  return failure
end

for i = 1, sets do
  local failure = set_second(KEYS[at + i], id, ARGV[12 + 3 * i], ARGV[14 + 3 * i])
  if failure then return fail(failure) end
  changed = i
end

local moved = false
if rem then redis.call('ZREM', rem, id) end
if ref then
  local _
  _, moved = add(ref, id, ARGV[9], ARGV[10])
end

begin_feed(head, feed)
local first = 15 + 3 * sets
for i = first, #ARGV, 2 do
  local failure = append(head, feed, ARGV[4], ARGV[i + 1], id, ARGV[i], ARGV[11], moved and i + 1 == #ARGV)
  if failure then return fail(failure) end
end
if moved and #ARGV < first then
  local failure = append(head, feed, ARGV[4], ARGV[5], id, '0', ARGV[11], true)
  if failure then return fail(failure) end
end
end_feed(head, meta, feed, ARGV[3], ARGV[12])
if ARGV[13] == '0' then
  redis.call('SET', record, ARGV[2])
elseif ARGV[13] == '-1' then
  redis.call('SET', record, ARGV[2], 'KEEPTTL')
else
  redis.call('SET', record, ARGV[2], 'PX', ARGV[13])
end
return {'ok'}
