-- Moves the positions of a consumer. A position moves only if it is the one that the caller has compared. It is safe to
-- send it again.
--
-- KEYS  1 consumers
-- ARGV  1 name  2 incarnation  3 the positions that were compared  4 the new positions; both with one for each partition
-- Returns what describe appends, or nothing if there is no consumer of this name and incarnation.

local function split(text)
  local positions = {}
  for position in string.gmatch(text or '', '%S+') do positions[#positions + 1] = position end
  return positions
end

local key, name = KEYS[1], ARGV[1]
local consumer, at = read(key, name), now()
if consumer.incarnation ~= ARGV[2] then return {} end
local stored, from, to, moved = split(consumer.positions), split(ARGV[3]), split(ARGV[4]), false
for partition, position in ipairs(stored) do
  if position == from[partition] and position ~= to[partition] then
    stored[partition], moved = to[partition], true
  end
end
if moved then
  consumer.positions, consumer.acknowledged = table.concat(stored, ' '), integer(at)
  redis.call('HSET', key, 'positions:' .. name, consumer.positions, 'acknowledged:' .. name, consumer.acknowledged)
end
return describe({}, consumer, at)
