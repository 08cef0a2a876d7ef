-- Commits one record, its feed entries and its index entries, if nobody wrote in between.
--
-- KEYS  1 record  2 feed  3 meta
--       then, each only where it is written: the reference that the session leaves, the reference
--       that it bears, the index of due sessions, the lists that change
-- ARGV  1 header expected ("" = no record)   2 the record to store, header first
--       3 epoch for a partition without one  4 MAXLEN of the feed
--       5 nonce                              6 session id
--       7 leaves a reference (0 or 1)        8 bears a reference (0 or 1)
--       9 score in the reference's index    10 members kept in it
--      11 second from which the session is due, "-": not any more, "": as before
--      12 now, in Unix seconds              13 oldest second that the feed keeps, "0": any
--      14 milliseconds that the record lives, "0": for ever
--      15 how many lists change; then for each a second or "-", and members kept: see lists.lua
--      then the revisions made, ascending (may be none), each with ":" and 24 bytes of the trace in
--      which it was made, if that is kept
-- Returns {"ok"}, or {"conflict", record} or {"conflict"} without a record.
--
-- The client sends a script again when the answer was lost, up to four times. The header carries a
-- nonce of its own for each commit, so a record with our header is our own commit: success, and
-- nothing is done twice. All of the header is compared, not the counter alone: after a failover that
-- lost writes the same counter comes again with another record.
--
-- Redis does not undo a script that fails half way. What may fail (wrong types) is read first.

local record, feed, meta = KEYS[1], KEYS[2], KEYS[3]
local at = 3
local function optional(wanted)
  if wanted then
    at = at + 1
    return KEYS[at]
  end
  return false
end
local rem = optional(ARGV[7] == '1')
local ref = optional(ARGV[8] == '1')
local due = optional(ARGV[11] ~= '')
local lists = {}
for i = 1, tonumber(ARGV[15]) do
  lists[i] = {optional(true), ARGV[14 + 2 * i], ARGV[15 + 2 * i]}
end
local first = 16 + 2 * #lists

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
if rem then redis.call('ZCARD', rem) end
if ref then redis.call('ZCARD', ref) end
if due then redis.call('ZCARD', due) end
for _, list in ipairs(lists) do redis.call('ZCARD', list[1]) end
redis.call('XLEN', feed)

ensure_epoch(meta, feed, ARGV[3])
local moved = false
if rem then redis.call('ZREM', rem, ARGV[6]) end
if ref then
  local _
  _, moved = add(ref, ARGV[6], ARGV[9], ARGV[10])
end
if ARGV[11] == '-' then
  redis.call('ZREM', due, ARGV[6])
elseif due then
  redis.call('ZADD', due, ARGV[11], ARGV[6])
end
for _, list in ipairs(lists) do place(list[1], ARGV[6], list[2], list[3]) end
for i = first, #ARGV do
  append(meta, feed, ARGV[4], ARGV[5], ARGV[6], ARGV[i], ARGV[12], moved and i == #ARGV)
end
if moved and #ARGV < first then
  append(meta, feed, ARGV[4], ARGV[5], ARGV[6], '0', ARGV[12], true)
end
forget(feed, ARGV[13])
if ARGV[14] == '0' then
  redis.call('SET', record, ARGV[2])
else
  redis.call('SET', record, ARGV[2], 'PX', ARGV[14])
end
return {'ok'}
