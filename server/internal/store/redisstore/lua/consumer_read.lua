-- Reads one consumer, or all of them.
--
-- KEYS  1 consumers
-- ARGV  1 name, or nothing for all
-- Returns what describe appends, for each consumer.

local answer, at = {}, now()
if ARGV[1] then
  local consumer = read(KEYS[1], ARGV[1])
  return consumer.incarnation and describe(answer, consumer, at) or answer
end
local all, stored = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local attribute, name = string.match(stored[i], '^(%l+):(.*)$')
  if attribute then
    all[name] = all[name] or {name = name}
    all[name][attribute] = stored[i + 1]
  end
end
for _, consumer in pairs(all) do
  if consumer.incarnation then describe(answer, consumer, at) end
end
return answer
