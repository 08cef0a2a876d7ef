-- Commits records, each with its feed entries and its index entries, if no other writer has committed the record in between.
-- The commits of one call are independent of each other. One call for several of them costs less than a call for each.
-- Those whose first write is a removal come last in it: see take in committer.go.
--
-- KEYS and ARGV of a commit are followed by those of the next one.
-- KEYS  1 record  2 feed  3 meta
--       then, each only if it is written: the reference that the session leaves, the reference that it gets, the
--       sets that change: due sessions and lists
-- ARGV  1 how many keys the commit has         2 how many arguments it has
--       3 header expected ("" = no record)     4 the record to store, header first
--       5 session id                           6 now, in Unix seconds
--       7 options, mostly "": "l" if the session leaves a reference; "j" and the score if it gets one; "p" and the
--         milliseconds that the record lives, -1 for as long as the record before
--       then for each set its change:
--           "1790000000"             add the session, which is not in the set, with this second
--           "r1790000000"            remove the session, which has this second; "r" alone if it is not in the set
--           "a1790000000:"           like the first, and remove the oldest members beyond list_cap
--           "m1790000000:1780000000" change the second from the one after the colon; "a…:…" does the same
--       then for each revision made, ascending: the revision, and ":" and 24 bytes of its trace if there is one; the nonce
--       of its entry. A commit without a revision that gets a reference has revision 0: an entry that is only written if
--       the session becomes the newest one of the reference.
-- Constants, in front of this text: feed_length (MAXLEN of the feed), feed_age (seconds that the feed keeps, 0 for all),
--       index_cap and list_cap (as the last rank to remove).
-- Returns for each commit "ok", or {"conflict", record} or {"conflict"} without a record. A single commit that fails ends the
-- script with its error. Of several, it is "failed", and the others are made: send it again alone to see the error.
--
-- The client sends a script again if the answer was lost, up to four times. The header contains a nonce for each commit.
-- So a record with our header is our own commit: it was successful, and nothing is done twice. The whole header is
-- compared and not only the counter: after a failover that lost writes, the same counter comes again with another record.
--
-- Redis does not undo a script that fails half way. It can fail at a key of a foreign type. So what is seldom written is
-- read before the first write. The sets get back the old seconds, which the arguments contain. To check each set first at
-- every commit too would cost a tenth of the commit.
--
-- Half of a commit's cost is Lua: each argument, string, table and function that is made costs time, and its collection
-- again. So the usual commit makes few, and shared() makes the functions for the others.

local call, try, byte = redis.call, redis.pcall, string.byte
local keys, args = KEYS, ARGV

-- commit makes the commit whose keys and arguments begin after k and a, and whose arguments end at last.
local function commit(k, a, last_key, last)
  local record, feed, meta, id, now, options = keys[k + 1], keys[k + 2], keys[k + 3], args[a + 5], args[a + 6], args[a + 7]

  local header = call('GETRANGE', record, '0', '11')
  if header ~= args[a + 3] then
    local own = string.sub(args[a + 4], 1, 12)
    if header == own then
      -- Write the header again, so that a WAIT on this connection covers the commit of another connection.
      call('SETRANGE', record, '0', own)
      return 'ok'
    end
    local current = call('GET', record)
    if current then
      return {'conflict', current}
    end
    return {'conflict'}
  end

  local m = call('HMGET', meta, 'seq', 'nonce', 'since')
  local fresh, seq, before = not m[1], tonumber(m[1] or '0'), m[2] or '0'
  if fresh then call('XLEN', feed) end

  local at, leaves, joins, score, newest, top = k + 3, false, false, false, false, false
  if options ~= '' then
    if string.find(options, 'l', 1, true) then
      at = at + 1
      leaves = keys[at]
      call('ZCARD', leaves)
    end
    score = string.match(options, 'j(%-?%d+)')
    if score then
      at = at + 1
      joins = keys[at]
      top = call('ZREVRANGE', joins, '0', '0', 'WITHSCORES')
      newest = not top[1]
      if top[1] and top[1] ~= id then
        local mine, other = tonumber(score), tonumber(top[2])
        newest = mine > other or mine == other and shared().is_before(top[1], id)
      end
    end
  end

  local sets = last_key - at
  local changed, failure = 0, false
  for i = 1, sets do
    local set, change = keys[at + i], args[a + 7 + i]
    local kind, answer = byte(change), false
    if kind == 114 then -- r
      answer = try('ZREM', set, id)
    elseif kind == 97 or kind == 109 then -- a, m
      answer = try('ZADD', set, string.match(change, '^.(.*):'), id)
    else
      answer = try('ZADD', set, change, id)
    end
    if type(answer) ~= 'number' then
      failure = answer
      break
    end
    if kind == 97 then call('ZREMRANGEBYRANK', set, '0', list_cap) end
    changed = i
  end

  -- Each entry contains the nonce of the entry before (b). So a reader that has seen that entry knows that it missed nothing,
  -- even if that entry is trimmed in this call or later. Plain tostring would write large numbers as 1e+15.
  local number = false
  if not failure then
    if fresh then call('DEL', feed) end -- a remainder: the numbers begin at 1 again
    for i = a + 8 + sets, last, 2 do
      local revision, nonce, pointer = args[i], args[i + 1], newest and i + 1 == last
      if revision == '0' and not newest then break end
      local entry, answer = string.format('%.0f', seq + 1), false
      if not pointer and #revision < 12 then
        answer = try('XADD', feed, entry .. '-0', 's', id, 'r', revision, 'n', nonce, 'b', before, 't', now)
      end
      if type(answer) == 'table' or not answer then -- it has a trace or moves a reference, or the number is taken
        local head = {seq = seq, nonce = before}
        failure = shared().append(head, feed, feed_length, nonce, id, revision, now, pointer)
        if failure then break end
        seq, entry = head.seq - 1, head.number
      end
      seq, number, before = seq + 1, entry, nonce
      -- Redis trims whole nodes of some 100 entries, so to look at each entry finds nothing most of the time.
      if seq % 32 == 0 then call('XTRIM', feed, 'MAXLEN', '~', feed_length) end
    end
  end

  if failure then
    for i = changed, 1, -1 do
      local change = args[a + 7 + i]
      local former = string.match(change, '^r(.+)$') or string.match(change, ':(.+)$')
      if former then
        try('ZADD', keys[at + i], former, id)
      else
        try('ZREM', keys[at + i], id)
      end
    end
  end

  if fresh and (number or not failure) then
    -- The epoch is random: the nonce in the new header, as a number of up to 19 digits.
    local b = {byte(args[a + 4], 5, 12)}
    local high, low = ((b[1] * 256 + b[2]) * 256 + b[3]) * 256 + b[4], ((b[5] * 256 + b[6]) * 256 + b[7]) * 256 + b[8]
    call('HSET', meta, 'epoch', string.format('%.0f%09.0f', high, low % 1e9), 'seq', number or '0')
  end
  if number then
    -- A since in the future comes from a clock that was wrong: see feed.lua.
    local since = false
    if feed_age > 0 and not failure then
      local second, seen = tonumber(now), tonumber(m[3] or '')
      if not seen or seen < second - feed_age or seen > second then since = shared().trim_old(feed, second - feed_age) end
    end
    if since then
      call('HSET', meta, 'seq', number, 'nonce', before, 'since', string.format('%.0f', since))
    else
      call('HSET', meta, 'seq', number, 'nonce', before)
    end
  end
  if failure then return failure end

  if leaves then call('ZREM', leaves, id) end
  if joins then
    call('ZADD', joins, score, id)
    if top[1] then call('ZREMRANGEBYRANK', joins, '0', index_cap) end
  end
  local life = options ~= '' and string.match(options, 'p(%-?%d+)')
  if not life then
    call('SET', record, args[a + 4])
  elseif life == '-1' then
    call('SET', record, args[a + 4], 'KEEPTTL')
  else
    call('SET', record, args[a + 4], 'PX', life)
  end
  return 'ok'
end

local k, a = tonumber(args[1]), tonumber(args[2])
if a == #args then
  local answer = commit(0, 0, k, a)
  if answer.err then return answer end
  return {answer}
end
local answers, n = {}, 0
k, a = 0, 0
while a < #args do
  local last_key, last = k + tonumber(args[a + 1]), a + tonumber(args[a + 2])
  local made, answer = pcall(commit, k, a, last_key, last)
  n = n + 1
  answers[n] = made and not answer.err and answer or 'failed'
  k, a = last_key, last
end
return answers
