-- avis lease 1: an author gives back what it has not spent of a budget, and takes a new slice.
-- KEYS: budget. ARGV: generation, author, the author's count of calls, what it gives back, what it
-- still has under way, the least it wants, the most the limit allows, how many slices to make, now
-- and until when slices are recalled, in milliseconds (0: not by this call).
-- Answers {code, used, v, slice, others, moved}: code 0 leased, 1 slices are recalled,
-- -1 not of this generation, -2 a later call was here first; others: authors that hold something.
local key, now = KEYS[1], tonumber(ARGV[9])
local g, v, used, recall, mine = unpack(
  redis.call('HMGET', key, 'g', 'v', 'used', 'recall', 'l' .. ARGV[2]))
if g ~= ARGV[1] then return {-1} end
v, used, recall = tonumber(v), tonumber(used), tonumber(recall or '0')
local call, slice, kept = string.match(mine or '0 0 0', '(%d+) (%d+) (%d+)')
local moved = 0
if tonumber(call) > tonumber(ARGV[3]) then return {-2} end
if tonumber(call) == tonumber(ARGV[3]) then
  slice, moved = tonumber(slice), 2
else
  local given, least = tonumber(ARGV[4]), tonumber(ARGV[6])
  used = used - given
  if ARGV[10] ~= '0' then
    recall = tonumber(ARGV[10])
    redis.call('HSET', key, 'recall', ARGV[10])
  end
  local rest = tonumber(ARGV[7]) - used
  slice, kept = 0, tonumber(kept)
  if recall <= now and least > 0 and rest > 0 then
    -- Numbers here are exact up to 2^53 only, whatever the limit allows.
    slice = math.min(rest, 2 ^ 40, math.max(least, math.floor(rest / tonumber(ARGV[8]))))
  end
  used = used + slice
  if given > 0 or slice > 0 then
    v, moved = v + 1, 1
    redis.call('HSET', key, 'used', string.format('%.0f', used), 'v', v)
  end
  if moved == 1 or mine then
    redis.call('HSET', key, 'l' .. ARGV[2], ARGV[3] .. ' ' .. string.format('%.0f', slice) .. ' ' .. ARGV[5])
  end
end
local others, all = 0, redis.call('HGETALL', key)
for at = 1, #all, 2 do
  if string.sub(all[at], 1, 1) == 'l' and all[at] ~= 'l' .. ARGV[2] then
    local _, theirs, under_way = string.match(all[at + 1], '(%d+) (%d+) (%d+)')
    if tonumber(theirs) > 0 or tonumber(under_way) > 0 then others = others + 1 end
  end
end
return {recall > now and 1 or 0, used, v, slice, others, moved}
