-- Creates a consumer unless its name is taken. It is safe to send it again: the incarnation is random, so a consumer with
-- this incarnation was created by the first sending. Then its positions can have moved already, and stay.
--
-- A consumer that exists is written again, so that a WAIT on this connection covers its creation by another one. WAIT
-- covers only the writes of its own connection.
--
-- KEYS  1 consumers
-- ARGV  1 name  2 incarnation  3 owner  4 positions  5 how many consumers are kept at most
--       6 how many of them one owner has at most; "0": no limit
-- Returns {"created" or "taken", and what describe appends}, or {"full"}, or {"share"} if the owner has all that it can have.

local key, name = KEYS[1], ARGV[1]
local consumer = read(key, name)
if not consumer.incarnation then
  local count, own, share, stored = 0, 0, tonumber(ARGV[6]), redis.call('HGETALL', key)
  for i = 1, #stored, 2 do
    if string.sub(stored[i], 1, 12) == 'incarnation:' then count = count + 1 end
    if string.sub(stored[i], 1, 6) == 'owner:' and stored[i + 1] == ARGV[3] then own = own + 1 end
  end
  if share > 0 and own >= share then return {'share'} end
  if count >= tonumber(ARGV[5]) then return {'full'} end
  consumer.incarnation, consumer.owner, consumer.positions = ARGV[2], ARGV[3], ARGV[4]
  redis.call('HSET', key, 'incarnation:' .. name, ARGV[2], 'owner:' .. name, ARGV[3], 'positions:' .. name, ARGV[4])
else
  redis.call('HSET', key, 'incarnation:' .. name, consumer.incarnation)
end
return describe({consumer.incarnation == ARGV[2] and 'created' or 'taken'}, consumer, now())
