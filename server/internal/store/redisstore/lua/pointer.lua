-- Appends a feed entry that says only that a session can now be the newest one of its reference.
--
-- KEYS  1 feed  2 meta
-- ARGV  1 epoch for a partition without one  2 MAXLEN of the feed  3 nonce  4 session id
--       5 now, in Unix seconds               6 oldest second that the feed keeps, "0" for all
-- Returns "ok". If it is sent again at once, it finds its own nonce and does nothing. A second entry would only wake
-- the watchers twice.

local head = read_head(KEYS[2], KEYS[1])
if head.nonce == ARGV[3] then
  return 'ok'
end
begin_feed(head, KEYS[1])
local failure = append(head, KEYS[1], ARGV[2], ARGV[3], ARGV[4], '0', ARGV[5], true)
if failure then return failure end
end_feed(head, KEYS[2], KEYS[1], ARGV[1], ARGV[6])
return 'ok'
