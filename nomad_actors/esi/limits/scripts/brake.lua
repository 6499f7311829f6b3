-- Sets a brake, or lifts one. The request (JSON): a brake (lib.lua), or lift: the name of one.
-- Returns: 1, and until when it is set (ms), or '' if that changed nothing
if input.lift then
  -- Also one that is not in force because the clock went back: it would be again later.
  lift(input.lift, read_brake(input.lift) or { since_ms = now })
  return { 1, '' }
end
local until_ms = set_brake(input)
return { 1, until_ms and string.format('%.0f', until_ms) or '' }
