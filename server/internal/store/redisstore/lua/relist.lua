-- Repairs a session's list entries, if its record is still the one that was read.
--
-- KEYS  1 record  2... lists
-- ARGV  1 header expected ("" = no record)  2 session id
--       then for each list a second or "-", and members kept; see lists.lua
-- Returns {added, removed}: how many entries were missing or had another second, and how many did not belong there. Or
-- returns {"conflict"} and does nothing if the record has changed.

if redis.call('GETRANGE', KEYS[1], '0', '11') ~= ARGV[1] then
  return {'conflict'}
end
local added, removed = 0, 0
for i = 2, #KEYS do
  local before = redis.call('ZSCORE', KEYS[i], ARGV[2])
  local failure = set_second(KEYS[i], ARGV[2], ARGV[2 * i - 1], ARGV[2 * i])
  if failure then return failure end
  local after = redis.call('ZSCORE', KEYS[i], ARGV[2])
  if before and not after then
    removed = removed + 1
  elseif before ~= after then
    added = added + 1
  end
end
return {string.format('%.0f', added), string.format('%.0f', removed)}
