-- Commits one record, its feed entries and its index entries, if nobody wrote in between.
--
-- KEYS  1 record  2 feed  3 meta
--       then, each only where it is written: the reference that the session leaves, the reference
--       that it comes to bear, the sets that change: due sessions and lists
-- ARGV  1 header expected ("" = no record)   2 the record to store, header first
--       3 epoch for a partition without one  4 MAXLEN of the feed
--       5 nonce of an entry without revision 6 session id
--       7 leaves a reference (0 or 1)        8 comes to bear a reference (0 or 1)
--       9 score in the reference's index    10 members kept in it
--      11 now, in Unix seconds              12 oldest second that the feed keeps, "0": any
--      13 milliseconds that the record lives, "0": for ever
--      14 how many sets change; then for each its second there, the second that it had ("-": not in it),
--         and members kept: see lists.lua
--      then the revisions made, ascending (may be none), each with ":" and 24 bytes of the trace in
--      which it was made, if that is kept, and each followed by the nonce of its entry
-- Returns {"ok"}, or {"conflict", record} or {"conflict"} without a record.
--
-- The client sends a script again when the answer was lost, up to four times. The header carries a
-- nonce of its own for each commit, so a record with our header is our own commit: success, and
-- nothing is done twice. All of the header is compared, not the counter alone: after a failover that
-- lost writes the same counter comes again with another record.
--
-- Redis does not undo a script that fails half way. What may fail are keys of foreign types. The few
-- commits that change a reference look at its keys and the feed first; the sets get back what the record
-- expected says that they had. Looking at each of these first too, at every commit, would cost a tenth of it.

local record, feed, meta = KEYS[1], KEYS[2], KEYS[3]
local id = ARGV[6]

local header = redis.call('GETRANGE', record, '0', '11')
local own = string.sub(ARGV[2], 1, 12)
if header == own then
  -- Written again, so that a WAIT on this connection covers the commit that another one made.
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

local sets, placed = tonumber(ARGV[14]), 0
-- fail gives the sets back what they had, and ends the commit with an error.
local function fail(failure)
  for i = placed, 1, -1 do
    place(KEYS[at + i], id, ARGV[13 + 3 * i], '0')
  end
  if head.number then end_feed(head, meta, feed, ARGV[3], '0') end
  return failure
end

for i = 1, sets do
  local failure = place(KEYS[at + i], id, ARGV[12 + 3 * i], ARGV[14 + 3 * i])
  if failure then return fail(failure) end
  placed = i
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
else
  redis.call('SET', record, ARGV[2], 'PX', ARGV[13])
end
return {'ok'}
