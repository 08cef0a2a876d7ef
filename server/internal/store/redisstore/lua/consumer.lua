-- Shared by the scripts of the named consumers. All consumers are in one hash, with the fields "<attribute>:<name>". A
-- consumer exists if it has an incarnation.

local attributes = {'incarnation', 'owner', 'positions', 'acknowledged', 'stream', 'holder', 'until'}

-- fields_of returns the names of all fields of a consumer.
local function fields_of(name)
  local fields = {}
  for i, attribute in ipairs(attributes) do fields[i] = attribute .. ':' .. name end
  return fields
end

-- read returns the attributes of a consumer. Each is false if the field is missing.
local function read(key, name)
  local consumer = {name = name}
  for i, value in ipairs(redis.call('HMGET', key, unpack(fields_of(name)))) do consumer[attributes[i]] = value end
  return consumer
end

-- now returns the milliseconds of this server's clock. All leases end by the clock of the store, because the clocks of
-- the replicas of the service differ.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- left returns for how many milliseconds a lease still runs. It is 0 if it has ended.
local function left(consumer, at)
  return math.max(0, (tonumber(consumer['until'] or '') or 0) - at)
end

-- integer formats a number. Plain tostring would write large ones as 1e+15.
local function integer(number) return string.format('%.0f', number) end

-- describe appends a consumer to an answer: name, incarnation, owner, positions, milliseconds of the last
-- acknowledgement, milliseconds that the lease still runs, and its holder.
local function describe(answer, consumer, at)
  local runs = left(consumer, at)
  for _, value in ipairs({
    consumer.name, consumer.incarnation, consumer.owner or '', consumer.positions or '', consumer.acknowledged or '0',
    integer(runs), runs > 0 and consumer.holder or '',
  }) do
    answer[#answer + 1] = value
  end
  return answer
end
