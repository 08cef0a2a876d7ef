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
-- nothing was changed. Plain tostring would write large numbers as 1e+15. A revision may have the
-- trace in which it was made behind a colon.
local function append(meta, feed, maxlen, nonce, session, revision, now, pointer)
  local seq = string.format('%.0f', tonumber(redis.call('HGET', meta, 'seq')) + 1)
  local number, trace = revision, false
  local colon = string.find(revision, ':', 1, true)
  if colon then
    number, trace = string.sub(revision, 1, colon - 1), string.sub(revision, colon + 1)
  end
  local entry = {'XADD', feed, 'MAXLEN', '~', maxlen, seq .. '-0', 's', session, 'r', number, 'n', nonce, 't', now}
  if pointer then
    entry[#entry + 1], entry[#entry + 2] = 'p', '1'
  end
  if trace then
    entry[#entry + 1], entry[#entry + 2] = 'c', trace
  end
  redis.call(unpack(entry))
  redis.call('HSET', meta, 'seq', seq, 'nonce', nonce)
end

-- is_older says whether an entry was written before a second. One without a time stays.
local function is_older(entry, oldest)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 't' then
      return tonumber(fields[i + 1]) < tonumber(oldest)
    end
  end
  return false
end

-- forget removes entries written before a second: the oldest 20 at the most, more than one commit
-- adds, so that the feed shrinks and no commit pays for a long silence.
local function forget(feed, oldest)
  if oldest == '0' then return end
  local head = redis.call('XRANGE', feed, '-', '+', 'COUNT', '1')[1]
  if not head or not is_older(head, oldest) then return end
  local last
  for _, entry in ipairs(redis.call('XRANGE', feed, '-', '+', 'COUNT', '20')) do
    if not is_older(entry, oldest) then break end
    last = entry[1]
  end
  local seq = tonumber(string.match(last, '^%d+')) + 1
  redis.call('XTRIM', feed, 'MINID', string.format('%.0f-0', seq))
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

