-- Notes how far an account's events have been caught up. It never falls: a slower replica must not
-- undo what a faster one has noted. A value that is no number counts as none: it must not refuse every
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
