-- Makes sure of a partition's meta and returns it. Entries behind it that a refused script left are taken in: who
-- has read one would be told over and over that the feed ends before it, until the partition's next commit.
--
-- KEYS  1 feed  2 meta
-- ARGV  1 epoch for a partition without one  2 number of partitions  3 record format
-- Returns {epoch, seq, nonce of the newest entry or "0", partitions, format} as strings.

local head = read_head(KEYS[2], KEYS[1])
begin_feed(head, KEYS[1])
go_on(head, KEYS[1])
end_feed(head, KEYS[2], KEYS[1], ARGV[1], '0')
redis.call('HSETNX', KEYS[2], 'partitions', ARGV[2])
redis.call('HSETNX', KEYS[2], 'format', ARGV[3])
local m = redis.call('HMGET', KEYS[2], 'epoch', 'seq', 'nonce', 'partitions', 'format')
return {m[1], m[2], m[3] or '0', m[4], m[5]}
