-- Returns a partition's meta, and makes one if there is none. It also moves the head over entries that a refused script
-- left. Otherwise a reader of such an entry would get ErrRewound until the next commit of the partition.
--
-- KEYS  1 feed  2 meta
-- ARGV  1 epoch for a partition without one  2 number of partitions  3 record format
-- Returns {epoch, seq, nonce of the newest entry or "0", partitions, format} as strings.

local head = read_head(KEYS[2], KEYS[1])
begin_feed(head, KEYS[1])
skip_unknown(head, KEYS[1])
end_feed(head, KEYS[2], KEYS[1], ARGV[1], '0')
redis.call('HSETNX', KEYS[2], 'partitions', ARGV[2])
redis.call('HSETNX', KEYS[2], 'format', ARGV[3])
local m = redis.call('HMGET', KEYS[2], 'epoch', 'seq', 'nonce', 'partitions', 'format')
return {m[1], m[2], m[3] or '0', m[4], m[5]}
