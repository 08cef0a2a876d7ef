-- Shared by the scripts that write the feed. It is put in front of each.

-- read_head reads a partition's meta before anything is written: {seq, since, nonce, fresh}. fresh means that there
-- is no meta: the partition is new, or there was a FLUSHALL. It fails if the feed has a foreign type.
local function read_head(meta, feed)
  local m = redis.call('HMGET', meta, 'epoch', 'seq', 'since', 'nonce')
  if not m[1] then
    redis.call('XLEN', feed)
    return {seq = 0, fresh = true}
  end
  return {seq = tonumber(m[2]), since = tonumber(m[3] or ''), nonce = m[4]}
end

-- begin_feed deletes the feed of a partition without meta: it is a remainder, and the numbers begin at 1 again.
local function begin_feed(head, feed)
  if head.fresh then redis.call('DEL', feed) end
end

-- field_of returns a field of an entry, or nil.
local function field_of(entry, name)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

-- skip_unknown moves the head over entries that it does not know. A script that lost a permission after it had
-- appended an entry, and before it had written meta, leaves such an entry. Redis does not undo it.
local function skip_unknown(head, feed)
  for _, left in ipairs(redis.call('XRANGE', feed, string.format('%.0f-0', head.seq + 1), '+')) do
    head.number = string.match(left[1], '^%d+')
    head.seq, head.nonce = tonumber(head.number), field_of(left, 'n')
  end
end

-- append adds one entry with the next number. It returns nothing, or an error if it has changed nothing. The entry
-- contains the nonce of the entry before (b). So a reader that has seen that entry knows that it missed nothing, even
-- if that entry is trimmed in this call or later. Plain tostring would write large numbers as 1e+15. After a colon
-- the revision can have the trace in which it was made.
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
    skip_unknown(head, feed) -- or no commit would ever succeed again
    seq = string.format('%.0f', head.seq + 1)
    entry[6], entry[14] = seq .. '-0', head.nonce
    answer = redis.pcall(unpack(entry))
  end
  if type(answer) == 'table' and answer.err then return answer end
  head.seq, head.number, head.nonce, head.now = head.seq + 1, seq, nonce, tonumber(now)
end

-- second_of returns when an entry was written, or nil. An entry without a time is never removed by age.
local function second_of(entry) return tonumber(field_of(entry, 't') or '') end

-- trim_old removes entries that were written before a second, at most the 20 oldest. That is more than one commit
-- adds, so the feed gets shorter, and no commit pays for a long silence. Entries of an older version do not contain
-- the nonce of the entry before. If such an entry would become the oldest one, the entry before it stays. Otherwise a
-- reader that has seen everything up to there would get ErrTrimmed. trim_old returns the second of the oldest entry
-- that is young enough or was not reached, or nil if that entry has none. With it most commits know that there is
-- nothing to remove.
local function trim_old(feed, oldest)
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

-- end_feed removes old entries and writes a partition's meta, if entries were appended or skipped, or if there was no
-- meta. A since in the future comes from a clock that was wrong. Its entry might be trimmed by length already, and
-- until that second no entry would count as too old. So end_feed does not trust it.
local function end_feed(head, meta, feed, epoch, oldest)
  if head.fresh then
    redis.call('HSET', meta, 'epoch', epoch, 'seq', head.number or '0')
  end
  if not head.number then return end
  oldest = tonumber(oldest)
  if oldest > 0 and (not head.since or head.since < oldest or head.since > head.now) then
    local since = trim_old(feed, oldest)
    if since then
      redis.call('HSET', meta, 'seq', head.number, 'nonce', head.nonce, 'since', string.format('%.0f', since))
      return
    end
  end
  redis.call('HSET', meta, 'seq', head.number, 'nonce', head.nonce)
end

-- top returns the newest session of a reference, or false.
local function top(ref)
  return redis.call('ZREVRANGE', ref, '0', '0')[1]
end

-- add adds a session to the index of a reference and removes the oldest members beyond cap. It returns whether the
-- session is the newest now, and whether it has just become the newest.
local function add(ref, session, score, cap)
  local before = top(ref)
  redis.call('ZADD', ref, score, session)
  redis.call('ZREMRANGEBYRANK', ref, '0', '-' .. string.format('%.0f', tonumber(cap) + 1))
  local newest = top(ref) == session
  return newest, newest and before ~= session
end
