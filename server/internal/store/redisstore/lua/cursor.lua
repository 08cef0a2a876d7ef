-- Stores how far an account's events have been caught up. The cursor never decreases: a slower replica must not
-- undo what a faster one has stored. A value that is not a number counts as no cursor, or it would block every
-- later one.
--
-- KEYS  1 cursors
-- ARGV  1 account  2 Unix second
-- Returns "ok".

local have = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') or 0
if tonumber(ARGV[2]) > have then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return 'ok'
