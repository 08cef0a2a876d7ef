-- Shared by the scripts that write the feed; put in front of each.

-- read_head reads a partition's meta before anything is written: {seq, since, nonce, fresh}. fresh: it has
-- none (new, or after a FLUSHALL). Where the feed is of a foreign type it fails.
local function read_head(meta, feed)
  local m = redis.call('HMGET', meta, 'epoch', 'seq', 'since', 'nonce')
  if not m[1] then
    redis.call('XLEN', feed)
    return {seq = 0, fresh = true}
  end
  return {seq = tonumber(m[2]), since = tonumber(m[3] or ''), nonce = m[4]}
end

-- begin_feed makes way for the numbers of a partition that begin at 1 again: what is in the feed without
-- meta is a remainder.
local function begin_feed(head, feed)
  if head.fresh then redis.call('DEL', feed) end
end

-- field_of is a field of an entry, or nil.
local function field_of(entry, name)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

-- go_on moves the head over entries that it does not know: those of a script that was refused, by a permission
-- that was taken, after its entry and before its meta. Redis does not undo it.
local function go_on(head, feed)
  for _, left in ipairs(redis.call('XRANGE', feed, string.format('%.0f-0', head.seq + 1), '+')) do
    head.number = string.match(left[1], '^%d+')
    head.seq, head.nonce = tonumber(head.number), field_of(left, 'n')
  end
end

-- append adds one entry under the next number, and returns nothing, or the error with which nothing was
-- changed. The entry holds the nonce of the one before (b): a reader that has seen that one knows then that
-- it missed nothing, also when that one is trimmed, in this very call or later. Plain tostring would write
-- large numbers as 1e+15. A revision may have the trace in which it was made behind a colon.
local function append(head, feed, maxlen, nonce, session, revision, now, pointer)
  local seq = string.format('%.0f', head.seq + 1)
  local number, trace = revision, false
  local colon = string.find(revision, ':', 1, true)
  if colon then
    number, trace = string.sub(revision, 1, colon - 1), string.sub(revision, colon + 1)
  end
  local entry = {'XADD', feed, 'MAXLEN', '~', maxlen, seq .. '-0', 's', session, 'r', number, 'n', nonce, 'b', head.nonce or '0', 't', now}
  if pointer then
    entry[#entry + 1], entry[#entry + 2] = 'p', '1'
  end
  if trace then
    entry[#entry + 1], entry[#entry + 2] = 'c', trace
  end
  local answer = redis.pcall(unpack(entry))
  if type(answer) == 'table' and answer.err and string.find(answer.err, 'equal or smaller', 1, true) then
    go_on(head, feed) -- or no commit would ever succeed again
    seq = string.format('%.0f', head.seq + 1)
    entry[6], entry[14] = seq .. '-0', head.nonce
    answer = redis.pcall(unpack(entry))
  end
  if type(answer) == 'table' and answer.err then return answer end
  head.seq, head.number, head.nonce, head.now = head.seq + 1, seq, nonce, tonumber(now)
end

-- second_of is when an entry was written, or nil: one without a time stays.
local function second_of(entry) return tonumber(field_of(entry, 't') or '') end

-- forget removes entries written before a second: the oldest 20 at the most, more than one commit
-- adds, so that the feed shrinks and no commit pays for a long silence. Entries of an older version do not
-- name the one before: where such an entry would be the oldest, the one before it stays, or a reader that
-- has seen all up to there would be told that it missed something. It returns the second of the oldest
-- entry that is young enough or was not reached, or nil where that has none: most commits know by that that
-- nothing is to be removed.
local function forget(feed, oldest)
  local first = redis.call('XRANGE', feed, '-', '+', 'COUNT', '1')[1]
  local second = first and second_of(first)
  if not second or second >= oldest then return second end
  local entries, removed = redis.call('XRANGE', feed, '-', '+', 'COUNT', '21'), 0
  for i, entry in ipairs(entries) do
    second = second_of(entry)
    if i > 20 or not second or second >= oldest then break end
    removed = i
  end
  local kept = entries[removed + 1]
  if not kept or not field_of(kept, 'b') then removed = removed - 1 end
  if removed > 0 then redis.call('XTRIM', feed, 'MINID', entries[removed + 1][1]) end
  return second
end

-- end_feed forgets what is too old and writes a partition's meta, where something was appended or left, or there
-- was none. An oldest entry that is not written yet is of a clock that was wrong: length may have taken it, and
-- nothing would be too old before that second.
local function end_feed(head, meta, feed, epoch, oldest)
  if head.fresh then
    redis.call('HSET', meta, 'epoch', epoch, 'seq', head.number or '0')
  end
  if not head.number then return end
  oldest = tonumber(oldest)
  if oldest > 0 and (not head.since or head.since < oldest or head.since > head.now) then
    local since = forget(feed, oldest)
    if since then
      redis.call('HSET', meta, 'seq', head.number, 'nonce', head.nonce, 'since', string.format('%.0f', since))
      return
    end
  end
  redis.call('HSET', meta, 'seq', head.number, 'nonce', head.nonce)
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
