-- Calls each command that the scripts and this service need. So a missing or forbidden command is found before a script
-- fails half way. It changes nothing: a command that writes gets a key that does not exist, or a key of another type.
-- Only while the feed is empty it makes a key of its own and deletes it.
--
-- KEYS  1 a key that does not exist  2 meta: a hash, if it exists  3 feed
-- Returns {command, error, command, error, ...} of the commands that failed.

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
-- made calls a command that creates a key, on another key that has another type or has the field already. Without such a
-- key it calls the command on a key of its own and deletes that key at once.
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
try('HDEL', none, 'probe')
try('HGETALL', none)
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
try('TIME')
try('XREAD', 'COUNT', '1', 'STREAMS', none, '0-0')
try('SCAN', '0', 'COUNT', '1')
return failed
