-- Calls each command that scripts and this service's own calls need, so that one that is missing or
-- forbidden is found before a script fails half way for it. It changes nothing: what would write meets a
-- key that is not there, or one of another type. Only while the feed is empty it makes a key of its own, and
-- deletes it.
--
-- KEYS  1 a key that is not there  2 meta: a hash, or not there  3 feed
-- Returns {command, error, command, error, ...} of those that failed, for whatever reason.

local failed = {}
local function try(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    failed[#failed + 1] = (...)
    failed[#failed + 1] = answer.err
    return nil
  end
  return answer
end

local none, meta, feed = KEYS[1], KEYS[2], KEYS[3]
-- made calls a command that makes a key, on another key that is of another type or has the field already,
-- or else on a key of its own, which goes at once.
local function made(other, command, ...)
  if other then
    try(command, other, ...)
  else
    try(command, none, ...)
    redis.pcall('DEL', none)
  end
end

local entries = try('XLEN', feed)
local epoch = try('HGET', meta, 'epoch')
try('HMGET', meta, 'epoch')
made(entries and entries > 0 and feed, 'HSET', 'probe', '1')
made(epoch and meta, 'HSETNX', 'epoch', '0')
made(epoch and meta, 'SADD', 'probe')
try('DEL', none)
try('SMEMBERS', none)
try('GET', none)
try('SET', none, 'probe', 'XX')
try('GETRANGE', none, '0', '0')
try('SETRANGE', none, '0', '')
try('XADD', none, 'NOMKSTREAM', '1-0', 'probe', '1')
try('XRANGE', none, '-', '+', 'COUNT', '1')
try('XTRIM', none, 'MINID', '1-0')
try('ZADD', none, 'XX', '0', 'probe')
try('ZCARD', none)
try('ZCOUNT', none, '0', '0')
try('ZRANGE', none, '0', '0')
try('ZREM', none, 'probe')
try('ZREMRANGEBYRANK', none, '0', '0')
try('ZREVRANGE', none, '0', '0')
try('ZSCORE', none, 'probe')
try('PING')
try('XREAD', 'COUNT', '1', 'STREAMS', none, '0-0')
try('SCAN', '0', 'COUNT', '1')
return failed
