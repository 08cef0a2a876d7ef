-- Shared by the scripts that write the feed; put in front of each.

-- ensure_epoch gives a partition that has no meta (new, or after a FLUSHALL) an epoch. A feed
-- without meta is a remainder whose numbers would collide with those that begin at 1 again.
local function ensure_epoch(meta, feed, epoch)
  if redis.call('HEXISTS', meta, 'epoch') == 0 then
    redis.call('DEL', feed)
    redis.call('HSET', meta, 'epoch', epoch, 'seq', '0')
  end
end

-- append adds one entry under the next number. The number goes up after XADD: if that fails,
-- nothing was changed. Plain tostring would write large numbers as 1e+15.
local function append(meta, feed, maxlen, nonce, session, revision, pointer)
  local seq = string.format('%.0f', tonumber(redis.call('HGET', meta, 'seq')) + 1)
  if pointer then
    redis.call('XADD', feed, 'MAXLEN', '~', maxlen, seq .. '-0', 's', session, 'r', revision, 'n', nonce, 'p', '1')
  else
    redis.call('XADD', feed, 'MAXLEN', '~', maxlen, seq .. '-0', 's', session, 'r', revision, 'n', nonce)
  end
  redis.call('HSET', meta, 'seq', seq, 'nonce', nonce)
end

-- top is the newest session of a reference, or false.
local function top(ref)
  return redis.call('ZREVRANGE', ref, '0', '0')[1]
end

-- add puts a session into the index of a reference and forgets the oldest beyond cap. It returns
-- whether the session is the newest now, and whether it was not before.
local function add(ref, session, score, cap)
  local before = top(ref)
  redis.call('ZADD', ref, score, session)
  redis.call('ZREMRANGEBYRANK', ref, '0', '-' .. string.format('%.0f', tonumber(cap) + 1))
  local newest = top(ref) == session
  return newest, newest and before ~= session
end

