-- Shared by the scripts that compare members of sorted sets. It is put in front of each.

-- is_before compares bytes, as sorted sets do. Lua's own < depends on the server's locale.
local function is_before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end
